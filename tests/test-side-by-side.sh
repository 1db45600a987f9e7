#!/bin/sh
# SPDX-License-Identifier: MIT
#
# doc/side-by-side.md shows the programs of doc/examples as they are, and counts their lines right;
# tests/test-examples.sh runs them. TAP.
set -u
src=$AFORK_TEST_SRCDIR
page=$src/doc/side-by-side.md
n=0

# check NAME EXPECTED GOT
check()
{
    n=$((n + 1))
    if [ -n "$2" ] && [ "$2" = "$3" ]; then
        echo "ok $n - $1"
    else
        echo "not ok $n - $1"
        printf '%s\n' "expected: $2" "got: $3" | sed 's/^/# /'
    fi
}

for file in c:c python:py js:js vala:vala perl:pl; do
    name=pool.${file#*:}
    check "$name is what is shown" "$(cat "$src/doc/examples/$name")" "$(
        awk -v start="\`\`\`${file%:*}" '/^```/ { inside = $0 == start; next } inside' "$page")"
    # Neither empty lines nor comments.
    lines=$(grep -cvE '^ *($|#[^i]|//|/?\*)' "$src/doc/examples/$name")
    check "$name has as many lines" "$lines" "$(
        sed -n "s/^| \[$name\].*| *\([0-9]*\) |\$/\1/p" "$page")"
done
echo "1..$n"
