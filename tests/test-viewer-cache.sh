#!/bin/sh
# SPDX-License-Identifier: MIT
#
# afork-viewer with a cache that cannot be made, that is full, or read-only: every picture is shown, and why
# thumbnails are not kept is told. And with the cache of larger thumbnails, which monitors of high resolution
# need. Each runs a case of tests/viewer-*.c once.
set -u
. "${srcdir:-.}/tests/viewer-env.sh"
VERSION=$(sed -n 's/^AC_INIT(\[afork\], \[\(.*\)\])/\1/p' "${srcdir:-.}/configure.ac")
export VERSION
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
n=0

# check NAME EXPECTED COMMAND...: with $XDG_CACHE_HOME; the message holds what is expected
check()
{
    n=$((n + 1))
    name=$1 VIEWER_TEST_EXPECTED=$2
    export VIEWER_TEST_EXPECTED
    shift 2
    if "$@" >"$work/log" 2>&1 && grep -q '^ok 1' "$work/log"; then
        echo "ok $n - $name"
    else
        echo "not ok $n - $name"
    fi
    sed 's/^/# /' "$work/log"
}

check "larger thumbnails" "" env GDK_SCALE=2 VIEWER_TEST_EXPECTED= \
    xvfb-run -a -s "-screen 0 2560x1600x24" tests/viewer-grid -p /viewer/grid/thumbnails

export VIEWER_TEST_KEEP_CACHE=1
echo >"$work/file"
XDG_CACHE_HOME=$work/file
export XDG_CACHE_HOME
check "no place for it" "Not a directory" on_screen tests/viewer-workers

# In a namespace of its own, where a small file system can be mounted.
mounted()
{
    mkdir -p "$work/cache"
    on_screen unshare -rm sh -c "$1"' && tests/viewer-workers'
}

XDG_CACHE_HOME=$work/cache
mount='mount -t tmpfs -o size=64k none "$XDG_CACHE_HOME" && mkdir -p "$XDG_CACHE_HOME/thumbnails/large"'
if unshare -rm true 2>/dev/null; then
    check "full" "No space left" mounted "$mount"' && dd if=/dev/zero of="$XDG_CACHE_HOME/full" 2>/dev/null; :'
    check "read-only" "Read-only" mounted "$mount"' && mkdir -p "$XDG_CACHE_HOME/thumbnails/fail/afork-thumbnails-$VERSION" &&
        mount -o remount,ro "$XDG_CACHE_HOME"'
    check "read-only, and empty" "Read-only" mounted 'mount -t tmpfs -o ro none "$XDG_CACHE_HOME"'
else
    for name in full read-only "read-only, and empty"; do
        n=$((n + 1))
        echo "ok $n - $name # SKIP there are no user namespaces"
    done
fi
echo "1..$n"
