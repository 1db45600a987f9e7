#!/bin/sh
# SPDX-License-Identifier: MIT
# Each public header refuses to be included alone; those meant for it compile as plain C99 and as
# C++, with warnings as errors. TAP.
set -u

include=$AFORK_TEST_BUILDDIR/include
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
count=0
warnings="-Wall -Wextra -Werror -pedantic"

result()
{
    count=$((count + 1))
    if [ "$1" = 0 ]; then
        echo "ok $count - $2"
    else
        echo "not ok $count - $2"
        sed 's/^/# /' "$work/messages"
    fi
}

skip()
{
    count=$((count + 1))
    echo "ok $count - $1 # SKIP $2"
}

# refused HEADER
refused()
{
    echo "#include <afork/$1>" >"$work/alone.c"
    # shellcheck disable=SC2086 # lists of words
    $CC -I"$include" $loop_flags -fsyntax-only "$work/alone.c" >"$work/messages" 2>&1 &&
        echo "it was accepted" >"$work/messages"
    grep -q 'include <afork/afork[a-z-]*.h> instead of this header' "$work/messages"
    result $? "$1 alone is refused"
}

# compiles HEADER WHAT COMPILER FLAG...
compiles()
{
    header=$1 what=$2
    shift 2
    # Twice: a header must not mind.
    printf '#include <afork/%s>\n' "$header" "$header" >"$work/user.c"
    echo 'int afork_check = AFORK_CHECK_VERSION(0, 1, 0);' >>"$work/user.c"
    # shellcheck disable=SC2086 # lists of words
    "$@" $warnings -I"$include" $loop_flags -fsyntax-only "$work/user.c" >"$work/messages" 2>&1
    result $? "$header as $what"
}

# umbrella HEADER FLAG...
umbrella()
{
    umbrella=$1
    shift
    # shellcheck disable=SC2086 # $CC may hold flags
    compiles "$umbrella" C99 $CC -std=c99 "$@"
    if [ -z "$CXX" ]; then
        skip "$umbrella as C++" "no C++ compiler"
    else
        compiles "$umbrella" C++ "$CXX" -x c++ -std=c++11 "$@"
    fi
}

# The headers of GLib, libev and libuv are not ours to judge.
loop_flags=$(printf '%s' "$GLIB_CFLAGS $LIBEV_CFLAGS $LIBUV_CFLAGS" | sed 's/-I */-isystem /g')

umbrella afork.h
if [ -e "$include/afork/afork-glib.h" ]; then
    umbrella afork-glib.h
fi
if [ -e "$include/afork/afork-perl.h" ]; then
    umbrella afork-perl.h
fi
if [ -e "$include/afork/afork-ev.h" ]; then
    umbrella afork-ev.h
fi
if [ -e "$include/afork/afork-uv.h" ]; then
    # uv.h names types of POSIX.
    umbrella afork-uv.h -D_POSIX_C_SOURCE=200809L
fi
for header in "$include"/afork/afork-*.h "$include"/afork/gafork-*.h; do
    case $header in
    */afork-glib.h | */afork-perl.h | */afork-ev.h | */afork-uv.h | *\**) ;;
    *) refused "${header##*/}" ;;
    esac
done
echo "1..$count"
