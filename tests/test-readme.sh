#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The README is true: its program is doc/examples/hello.c, and prints what it says.
set -u
src=${srcdir:-.}
echo "1..2"

block=$(sed -n '/^```c$/,/^```$/p' "$src/README.md" | sed '1d;$d')
if [ "$block" = "$(cat "$src/doc/examples/hello.c")" ]; then
    echo "ok 1 - the program of the README is the example"
else
    echo "not ok 1 - the program of the README is the example"
fi

expected=$(sed -n 's/^    \([0-9a-f]\{40\}\)$/\1/p' "$src/README.md")
printed=$(timeout 20 doc/examples/hello)
if [ -n "$expected" ] && [ "$printed" = "$expected" ]; then
    echo "ok 2 - it prints what the README shows"
else
    echo "not ok 2 - it prints what the README shows"
    echo "# printed: $printed"
fi
