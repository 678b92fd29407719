#!/bin/sh
# sh includes.sh SOURCE: every include of a header of ours carries its folder ("half/real.h").
set -u
bare='^[[:space:]]*#[[:space:]]*include[[:space:]]*"[^/"]*"'
printf '#include "real.h"\n' | grep -q "$bare" || { echo "the pattern finds nothing"; exit 1; }
found=$(cd "$1" && find analyzer include render tests -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' -o -name '*.cpp' | xargs grep -n "$bare")
[ -z "$found" ] || { echo "includes without their folder:"; echo "$found"; exit 1; }
