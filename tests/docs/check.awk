# What documents and comments cite, held against what is there. Input: a line "FILE path" for every file of the project, then
# "READ path" for those to be read. One line a fault; the exit status is 1 where there are any.
#
# Citations have one form: the document's path (in a document: beside it), then the section's number: docs/study.md 4, or
# docs/vit-models.md 2.2 to 2.6. In a document "section 4" is its own.

function fault(text) {
    printf "%s:%d: %s\n", file, number, text
    faults++
}

function folder_of(path) { return path ~ /\// ? substr(path, 1, length(path) - length(base_of(path))) : "" }
function base_of(path, n, parts) {
    n = split(path, parts, "/")
    return parts[n]
}

# "a/b/../c" is "a/c".
function tidy(path) {
    while (match(path, /[^\/]+\/\.\.\//)) path = substr(path, 1, RSTART - 1) substr(path, RSTART + RLENGTH)
    sub(/^\.\//, "", path)
    sub(/\/$/, "", path)
    return path
}

# GitHub's name of a heading.
function anchor_of(heading) {
    heading = tolower(heading)
    gsub(/[^a-z0-9 _-]/, "", heading)
    gsub(/ /, "-", heading)
    return heading
}

# A comment's text without what begins its lines.
function plain(line) {
    sub(/^[ \t]*(\/?\*+|\/\/|#+)?[ \t]*/, "", line)
    return line
}

function is_document(path) { return path ~ /\.md$/ }

function read_headings(path, line, fenced, num) {
    while ((getline line < (root path)) > 0) {
        if (line ~ /^```/) fenced = !fenced
        if (fenced || line !~ /^#+ /) continue
        sub(/^#+ /, "", line)
        anchors[path, anchor_of(line)] = 1
        if (match(line, /^[0-9]+(\.[0-9]+)*\.? /)) {
            num = substr(line, 1, RLENGTH - 1)
            sub(/\.$/, "", num)
            sections[path, num] = 1
        }
    }
    close(root path)
}

# The numbers that `text` begins with: "2.2 to 2.6", "1, 2 and 3".
function check_sections(document, text, num) {
    while (match(text, /^[0-9]+(\.[0-9]+)*/)) {
        num = substr(text, 1, RLENGTH)
        text = substr(text, RLENGTH + 1)
        if (!((document, num) in sections)) fault(document " has no section " num)
        if (!match(text, /^(,| and| to) [0-9]/)) return
        text = substr(text, RLENGTH)
    }
}

# Names of documents in this line, which may go on in the next.
function check_names(line, next_line, text, at, name, rest, path) {
    text = line " " plain(next_line)
    at = 0
    while (match(substr(text, at + 1), /[A-Za-z0-9_.\/:@+<>-]*[A-Za-z0-9_-]\.md/)) {
        at += RSTART - 1
        if (at >= length(line)) return
        name = substr(text, at + 1, RLENGTH)
        at += RLENGTH
        rest = substr(text, at + 1)
        sub(/^\//, "", name) # behind a folder's name in a program's text
        if (name ~ /[:<>]/ || rest ~ /^[A-Za-z0-9_]/) continue # of another project, or no name
        path = tidy(is_document(file) && !(name in files) ? folder_of(file) name : name)
        if (!(path in files)) {
            fault("there is no " name)
            continue
        }
        sub(/^#[a-z0-9-]*/, "", rest)
        sub(/^[`)]+/, "", rest)
        if (rest ~ /^,? section/) fault("cite a section as \"" path " 4\"")
        if (sub(/^ /, "", rest)) check_sections(path, rest)
    }
}

# "section 4" is of the document that says it.
function check_own_sections(line, next_line, text, at, rest) {
    text = " " line " " plain(next_line)
    at = 0
    while (match(substr(text, at + 1), /[^A-Za-z][Ss]ections? [0-9]+/)) {
        at += RSTART
        if (at > length(line)) return
        while (substr(text, at + 1, 1) !~ /[0-9]/) at++
        rest = substr(text, at + 1)
        if (is_document(file))
            check_sections(file, rest)
        else
            fault("a section of no document: section " substr(rest, 1, 12))
    }
}

function check_links(line, target, path, anchor) {
    while (match(line, /\]\([^)]*\)/)) {
        target = substr(line, RSTART + 2, RLENGTH - 3)
        line = substr(line, RSTART + RLENGTH)
        if (target ~ /^[a-z]+:/) continue
        anchor = target ~ /#/ ? target : ""
        sub(/^[^#]*#/, "", anchor)
        sub(/#.*/, "", target)
        path = target == "" ? file : tidy(folder_of(file) target)
        if (!(path in files) && !(path in folders))
            fault("the link's target " target " is not there")
        else if (anchor != "" && !((path, anchor) in anchors))
            fault(path " has no heading #" anchor)
    }
}

# Whether a path, or one that a pattern with * stands for, is there.
function is_there(path, pattern, f) {
    sub(/\/$/, "", path)
    if (path in files || path in folders) return 1
    if (path !~ /\*/) return 0
    pattern = path
    gsub(/\./, "\\.", pattern)
    gsub(/\*/, "[^/]*", pattern)
    for (f in files) if (f ~ ("^" pattern "$")) return 1
    return 0
}

# "a.{b,c}" one after the other.
function check_path(path, under, head, tail, names, n, i, places, k) {
    if (match(path, /\{[^}]*\}/)) {
        head = substr(path, 1, RSTART - 1)
        tail = substr(path, RSTART + RLENGTH)
        n = split(substr(path, RSTART + 1, RLENGTH - 2), names, ",")
        for (i = 1; i <= n; i++) check_path(head names[i] tail, under)
        return
    }
    n = split(under, places, " ")
    for (k = 1; k <= n; k++) if (is_there(places[k] == "." ? path : places[k] "/" path)) return
    fault("there is no " path)
}

# Paths of this project in a document. Files that users bring (.pth) are theirs.
function check_paths(line, rest, path, before) {
    rest = line
    while (match(rest, /(analyzer|cmake|configs|data|docs|include|render|tests)\/[A-Za-z0-9_.\/*{},-]*/)) {
        before = RSTART > 1 ? substr(rest, RSTART - 1, 1) : " "
        path = substr(rest, RSTART, RLENGTH)
        rest = substr(rest, RSTART + RLENGTH)
        if (before ~ /[A-Za-z0-9_.\/:-]/ || rest ~ /^</) continue
        sub(/[.,]+$/, "", path)
        if (path ~ /[{][^}]*$/ || path ~ /\.pth$/) continue
        check_path(path, ".")
    }
    rest = line # `vit/load.c`: a source file below its module
    while (match(rest, /`[a-z0-9_]+(\/[a-z0-9_*{},]+)+\.(c|h|cu|cuh|cpp|py|sh|cmake)`/)) {
        path = substr(rest, RSTART + 1, RLENGTH - 2)
        rest = substr(rest, RSTART + RLENGTH)
        if (path ~ /^(analyzer|cmake|include|render|tests)\// || base_of(file) == "vit-models.md") continue # above; of others
        check_path(path, ". analyzer include tests")
    }
}

function check_file(path, lines, n, i, fenced) {
    file = path
    n = fenced = 0
    while ((getline lines[n + 1] < (root path)) > 0) n++
    close(root path)
    lines[n + 1] = ""
    for (i = 1; i <= n; i++) {
        number = i
        check_names(lines[i], lines[i + 1])
        check_own_sections(lines[i], lines[i + 1])
        if (!is_document(path)) continue
        if (lines[i] ~ /^```/) fenced = !fenced
        if (!fenced) check_links(lines[i])
        check_paths(lines[i])
    }
}

$1 == "FILE" {
    path = substr($0, 6)
    files[path] = 1
    while (path ~ /\//) {
        path = substr(path, 1, length(path) - length(base_of(path)) - 1)
        folders[path] = 1
    }
}
$1 == "READ" { wanted[++count] = substr($0, 6) }
END {
    for (i = 1; i <= count; i++) if (is_document(wanted[i])) read_headings(wanted[i])
    for (i = 1; i <= count; i++) check_file(wanted[i])
    printf "%d files read, %d faults\n", count, faults
    exit faults > 0
}
