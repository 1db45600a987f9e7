# shellcheck shell=sh
# SPDX-License-Identifier: MIT
#
# The environment of afork-viewer's tests: a screen that nobody sees, and none of the user's settings.

skip()
{
    echo "1..0 # SKIP $*"
    exit 0
}

command -v xvfb-run >/dev/null || skip "there is no xvfb-run"
perl=${PERL:-perl}
"$perl" -I"${srcdir:-.}/glib/tools/perl" -MAFork::Thumbnail -e1 2>/dev/null ||
    skip "GdkPixbuf cannot be used from Perl"

AFORK_THUMBNAILS_LIB=$(cd "${srcdir:-.}" && pwd)/glib/tools/perl
LSAN_OPTIONS=suppressions=$(cd "${srcdir:-.}" && pwd)/tests/viewer-leaks.txt:print_suppressions=0
GSK_RENDERER=cairo GDK_DEBUG=gl-disable GTK_A11Y=none GSETTINGS_BACKEND=memory GDK_BACKEND=x11 LC_ALL=C.UTF-8
unset DBUS_SESSION_BUS_ADDRESS XDG_CACHE_HOME GTK_THEME
export AFORK_THUMBNAILS_LIB LSAN_OPTIONS GSK_RENDERER GDK_DEBUG GTK_A11Y GSETTINGS_BACKEND GDK_BACKEND LC_ALL

# on_screen COMMAND...
on_screen()
{
    xvfb-run -a -s "-screen 0 1280x1024x24" "$@"
}
