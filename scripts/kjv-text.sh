#!/bin/sh
# Writes the King James Bible as plain text, one verse a line: 4 137 850 characters, 63 distinct ones.
# The text is in the public domain; Debian's packages bible-kjv and bible-kjv-text carry it.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: scripts/kjv-text.sh OUT   (for example data/train/kjv.txt)" >&2
    exit 2
fi
if ! command -v bible >/dev/null 2>&1; then
    echo "the program 'bible' is missing: sudo apt-get install bible-kjv bible-kjv-text" >&2
    exit 1
fi

mkdir -p "$(dirname "$1")"
# Each line begins with its place, such as Gen1:1.
bible -f "Genesis 1:1 - Revelation 22:21" | sed 's/^[^ ]* //' >"$1.partial"
characters=$(wc -c <"$1.partial")
if [ "$characters" -lt 4000000 ]; then
    echo "only $characters characters came: is bible-kjv-text installed?" >&2
    rm -f "$1.partial"
    exit 1
fi
mv "$1.partial" "$1"
echo "$1: $characters characters" >&2
