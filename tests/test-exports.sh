#!/bin/sh
# SPDX-License-Identifier: MIT
# Each library exports what its map lists, no more and no less; the headers mark the same names; and
# it needs no library that it should not. TAP.
set -u

src=$AFORK_TEST_SRCDIR
libs=$AFORK_TEST_BUILDDIR/.libs
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
count=0

# same WHAT EXPECTED-FILE FOUND-FILE
same()
{
    count=$((count + 1))
    if difference=$(diff "$2" "$3"); then
        echo "ok $count - $1"
        return
    fi
    echo "not ok $count - $1 (< expected, > found)"
    echo "$difference" | sed 's/^/# /'
}

# Names between "global:" and "local:".
map_names()
{
    sed -n '/global:/,/local:/s/^ *\([A-Za-z0-9_]*\);.*/\1/p' "$1" | sort
}

exported_names()
{
    nm -D --defined-only "$1" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort
}

# Names of functions declared with AFORK_EXPORT: the word before the first parenthesis that is not an
# attribute's. A final type declares its _get_type(); so does an enumeration, in a header that the
# build makes.
marked_names()
{
    {
        cat "$@" | sed '/^ *#/d
            s/G_DECLARE_\(FINAL_TYPE\|INTERFACE\)([A-Za-z]*, \([a-z_]*\),/GType \2_get_type(/' | tr '\n' ' ' |
            grep -o 'AFORK_EXPORT [^;(]*(' | sed 's/.*[ *]\([a-z0-9_]*\)(/\1/'
        cat "$@" | sed -n 's/^} GAfork\([A-Za-z]*\);$/\1/p' |
            sed 's/\([a-z]\)\([A-Z]\)/\1_\2/g; s/.*/gafork_&_get_type/' |
            tr '[:upper:]' '[:lower:]'
    } | sort
}

needed_libraries()
{
    readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -v '^ld-linux' | sort
}

# check LIBRARY MAP NEEDED-PATTERN HEADER...
check()
{
    library=$libs/$1.so name=$1 map=$2 allowed=$3
    shift 3
    map_names "$map" >"$work/map"
    marked_names "$@" >"$work/marked"
    same "$name: headers mark what the map lists" "$work/map" "$work/marked"
    # Left out of this configuration; or built with sanitizers, which add symbols and libraries.
    if [ ! -e "$library" ] || [ -n "$AFORK_TEST_SANITIZERS" ]; then
        return
    fi
    exported_names "$library" >"$work/exported"
    same "$name: exports" "$work/map" "$work/exported"
    needed_libraries "$library" | grep -Evx "$allowed" >"$work/unwanted"
    : >"$work/none"
    same "$name: needs nothing but $allowed" "$work/none" "$work/unwanted"
}

check libafork "$src/src/libafork.map" 'libc\.so\.6' "$src"/src/afork-*.h
check libafork-glib "$src/glib/libafork-glib.map" \
    'libafork\.so\.0|lib(glib|gobject|gio)-2\.0\.so\.0|libjson-glib-1\.0\.so\.0|libc\.so\.6' \
    "$src"/glib/afork-glib*.h "$src"/glib/gafork-*.h
check libafork-perl "$src/src/perl/libafork-perl.map" 'libc\.so\.6' "$src"/src/perl/afork-perl.h
check libafork-ev "$src/ev-adapter/libafork-ev.map" \
    'libafork\.so\.0|libev\.so\.4|libc\.so\.6' "$src"/ev-adapter/afork-ev*.h
check libafork-uv "$src/uv-adapter/libafork-uv.map" \
    'libafork\.so\.0|libuv\.so\.1|libc\.so\.6' "$src"/uv-adapter/afork-uv*.h
echo "1..$count"
