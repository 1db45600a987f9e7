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

# Without a screen.
version()
{
    env -u DISPLAY -u WAYLAND_DISPLAY ./afork-viewer --version | grep '^afork-viewer [0-9]' &&
        env -u DISPLAY -u WAYLAND_DISPLAY ./afork-viewer --help | grep -F '[FOLDER|PICTURE]...'
}
result "version and help" version

# In a session of its own: $1 is the folder. Each call waits for its answer.
cat >"$work/session" <<'END'
G_DEBUG=fatal-criticals afork-viewer "$1" &
viewer=$!
window=/org/afork/Viewer/window/1
call()
{
    gdbus call --session --dest org.afork.Viewer --timeout 10 "$@"
}
act()
{
    call --object-path $window --method org.gtk.Actions.Activate "$1" "[$2]" '{}' || exit 1
}
# title TITLE [KEY...]: waits for a window of this title, not for ever; the keys are pressed once in a while.
title()
{
    wanted=$1
    shift
    tries=0
    until xdotool search --name "^$wanted\$"; do
        if [ $tries -gt 1000 ]; then
            echo "the title is never $wanted"
            kill $viewer
            exit 1
        fi
        if [ $((tries % 100)) = 0 ]; then
            for key; do press $key; done
        fi
        tries=$((tries + 1))
    done
}
press()
{
    echo "$*"
    xdotool key "$@"
}
gdbus wait --session --timeout 20 org.afork.Viewer || exit 1
until call --object-path $window --method org.gtk.Actions.List; do
    kill -0 $viewer || exit 1
done
act make-all
act view '<uint32 0>'
act next
act back
if command -v xdotool; then
    act view '<uint32 0>'
    title 1.png
    xdotool windowfocus "$(xdotool search --name '^1.png$')"
    for key in Right space Page_Down; do press $key; done
    title 4.png
    for key in Left BackSpace Page_Up; do press $key; done
    title 1.png
    press End
    title 2000.png
    press Home
    title 1.png
    for key in plus minus 0 1; do press $key; done
    press Escape
    title pictures
    # The title is there before the list is drawn, and a key that comes in between may go nowhere.
    title 2.png Escape Home Right Return
    press Escape
    title pictures
    press ctrl+w
else
    act show-help-overlay
    call --object-path /org/afork/Viewer --method org.gtk.Actions.Activate quit '[]' '{}' || exit 1
fi
wait $viewer
END

if command -v dbus-run-session >/dev/null && command -v gdbus >/dev/null; then
    mkdir "$work/pictures" "$work/cache"
    "${PERL:-perl}" -e 'open my $f, ">", "$ARGV[0]/$_.png" or die for 1 .. 2000' "$work/pictures"
    XDG_CACHE_HOME=$work/cache PATH=$PWD:$PATH
    export XDG_CACHE_HOME PATH
    result "started, driven, ended" on_screen dbus-run-session -- sh "$work/session" "$work/pictures"
else
    n=$((n + 1))
    echo "ok $n - started, driven, ended # SKIP there is no D-Bus session"
fi
echo "1..$n"
