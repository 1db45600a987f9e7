#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The README is true: its programs are those of doc/examples, and do what it says. Python's is run
# where there is Python and the typelib; an interpreter does not bring the sanitizers.
set -u
src=${srcdir:-.}
n=0

# check NAME EXPECTED GOT
check()
{
    n=$((n + 1))
    if [ -n "$2" ] && [ "$2" = "$3" ]; then
        echo "ok $n - $1"
    else
        echo "not ok $n - $1"
        echo "# got: $3"
    fi
}

# block LANGUAGE NUMBER
block()
{
    awk -v start="\`\`\`$1" -v number="$2" '
        /^```/ { inside = $0 == start && ++n == number; next }
        inside' "$src/README.md"
}

expected=$(sed -n 's/^    \([0-9a-f]\{40\}\)$/\1/p' "$src/README.md")
check "the program in C is the example" "$(cat "$src/doc/examples/hello.c")" "$(block c 1)"
check "it prints what the README shows" "$expected" "$(timeout 20 doc/examples/hello)"
check "the program without GObject prints the same" "$expected" \
    "$(timeout 20 doc/examples/hello-plain)"
check "the program in Python is the example" "$(cat "$src/doc/examples/hello.py")" \
    "$(block python 1)"
part=$(block c 2)
case $(cat "$src/doc/examples/pool.c") in
*"$part"*) found=$part ;;
*) found="not in pool.c" ;;
esac
check "the pool is a part of the example" "$part" "$found"
command=$(sed -n 's/^    \(afork-run .*\) <files$/\1/p' "$src/README.md")
sum=$(timeout 20 doc/examples/pool "$src/README.md")
check "from a shell the same" "${sum%% *}" "$(echo "$src/README.md" | eval "timeout 20 ./$command")"
if [ -n "$PYTHON_GI" ] && [ -e glib/Afork-1.0.typelib ] && [ -z "$AFORK_TEST_SANITIZERS" ]; then
    check "it prints the same" "$expected" "$(
        GI_TYPELIB_PATH=$PWD/glib LD_LIBRARY_PATH=$PWD/.libs \
            timeout 20 "$PYTHON_GI" "$src/doc/examples/hello.py")"
fi
echo "1..$n"
