#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The program afork-viewer itself: it is started with a folder, driven over D-Bus, and told to quit; and the
# files that desktops know it by.
set -u
. "${srcdir:-.}/tests/viewer-env.sh"
files=${srcdir:-.}/doc/examples/viewer/org.afork.Viewer
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
n=0

# result NAME COMMAND...
result()
{
    n=$((n + 1))
    name=$1
    shift
    if "$@" >"$work/log" 2>&1; then
        echo "ok $n - $name"
    else
        echo "not ok $n - $name"
        sed 's/^/# /' "$work/log"
    fi
}

# tool NAME COMMAND...: the same with a tool that may not be there
tool()
{
    if command -v "$2" >/dev/null; then
        result "$@"
    else
        n=$((n + 1))
        echo "ok $n - $1 # SKIP there is no $2"
    fi
}

tool "desktop file" desktop-file-validate "$files.desktop"
tool "metainfo" appstreamcli validate --no-net "$files.metainfo.xml"

# In a session of its own: $1 is the folder. Each call waits for its answer.
cat >"$work/session" <<'E2'
G_DEBUG=fatal-criticals afork-viewer "$1" &
viewer=$!
window=/org/afork/Viewer/window/1
call()
{
    gdbus call --session --dest org.afork.Viewer --timeout 10 "$@"
}
gdbus wait --session --timeout 20 org.afork.Viewer || exit 1
for turn in 1 2 3 4 5 6 7 8 9 10; do
    call --object-path $window --method org.gtk.Actions.List && break
done
call --object-path $window --method org.gtk.Actions.Activate make-all '[]' '{}' || exit 1
call --object-path $window --method org.gtk.Actions.Activate view '[<uint32 0>]' '{}' || exit 1
call --object-path $window --method org.gtk.Actions.Activate next '[]' '{}' || exit 1
call --object-path $window --method org.gtk.Actions.Activate back '[]' '{}' || exit 1
call --object-path /org/afork/Viewer --method org.gtk.Actions.Activate quit '[]' '{}' || exit 1
wait $viewer
E2

if command -v dbus-run-session >/dev/null && command -v gdbus >/dev/null; then
    mkdir "$work/pictures" "$work/cache"
    "$perl" -e 'open my $f, ">", "$ARGV[0]/$_.png" or die for 1 .. 2000' "$work/pictures"
    XDG_CACHE_HOME=$work/cache PATH=$PWD:$PATH
    export XDG_CACHE_HOME PATH
    result "started, driven, ended" on_screen dbus-run-session -- sh "$work/session" "$work/pictures"
else
    n=$((n + 1))
    echo "ok $n - started, driven, ended # SKIP there is no D-Bus session"
fi
echo "1..$n"
