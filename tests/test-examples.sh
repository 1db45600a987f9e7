#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The examples of the GObject layer print what they should. Python's is left out where there is none.
set -u
src=$AFORK_TEST_SRCDIR
build=$AFORK_TEST_BUILDDIR
count=0

# prints WHAT EXPECTED COMMAND...
prints()
{
    what=$1 expected=$2
    count=$((count + 1))
    shift 2
    printed=$(timeout 20 "$@" 2>&1 | sort)
    if [ "$printed" = "$expected" ]; then
        echo "ok $count - $what"
    else
        echo "not ok $count - $what"
        echo "# printed: $printed"
    fi
}

sum=aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d
prints hello-gobject "$sum" "$build/hello-gobject"
prints embedded-code "23 letters
6 words" "$build/embedded-code" "never gonna give it up, again"
if [ -n "$PYTHON_GI" ] && [ -e "$build/glib/Afork-1.0.typelib" ] && [ -z "$AFORK_TEST_SANITIZERS" ]
then
    prints hello.py "$sum" env GI_TYPELIB_PATH="$build/glib" LD_LIBRARY_PATH="$build/.libs" \
        "$PYTHON_GI" "$src/doc/examples/hello.py"
fi
echo "1..$count"
