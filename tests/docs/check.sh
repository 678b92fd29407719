#!/bin/sh
# Every document, section, link, picture and path that documents, comments and configurations name is there.
# usage: check.sh ROOT
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

check() { # ROOT
    (
        cd "$1"
        find . -name '.?*' -prune -o -path ./build -prune -o -path ./output -prune -o -type f -print | sed 's|^\./||' |
            LC_ALL=C sort >"$work/files"
    )
    sed 's/^/FILE /' "$work/files" >"$work/input"
    # not itself, and no bytes that are no text
    grep -E '(\.(md|c|h|cu|cuh|cpp|py|sh|yaml|cmake|txt)|^run)$' "$work/files" | grep -vE '^tests/(docs|fuzz/corpus)/' |
        sed 's/^/READ /' >>"$work/input"
    LC_ALL=C awk -v root="$1/" -f "$here/check.awk" "$work/input"
}

# It finds what is wrong: a small project with one fault of each kind.
bad=$work/bad
mkdir -p "$bad/docs" "$bad/src" "$bad/tests"
cat >"$bad/docs/a.md" <<'END'
# A
## 1. One
### 1.1 Part
Sections 1.1 and 2, [one](#1-one), [two](#2-two), [b](b.md), [other](../docs/a.md), [web](https://example.org/x.md), D2:README.md.
`tests/gone.sh` and `src/{here,gone}.c`, `docs/a.md`; [b](a.md) 1.
END
printf '/* docs/a.md 1, docs/a.md 3, a.md, docs/a.md\n * section 1, section 1 and docs/a.md\n * 1.2 to 1.1. */\n' >"$bad/src/here.c"
if check "$bad" >"$work/found"; then
    echo "faults made on purpose were not found"
    exit 1
fi
cat >"$work/expected" <<'END'
docs/a.md:4: there is no b.md
docs/a.md:4: docs/a.md has no section 2
docs/a.md:4: docs/a.md has no heading #2-two
docs/a.md:4: the link's target b.md is not there
docs/a.md:5: there is no tests/gone.sh
docs/a.md:5: there is no src/gone.c
src/here.c:1: docs/a.md has no section 3
src/here.c:1: there is no a.md
src/here.c:1: cite a section as "docs/a.md 4"
src/here.c:2: a section of no document: section 1, section 1
src/here.c:2: a section of no document: section 1 and docs/a
src/here.c:2: docs/a.md has no section 1.2
END
sed '$d' "$work/found" | LC_ALL=C sort >"$work/a"
LC_ALL=C sort "$work/expected" >"$work/b"
diff "$work/b" "$work/a" || { echo "faults made on purpose: expected <, found >"; exit 1; }

check "${1%/}"
