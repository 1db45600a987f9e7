# SPDX-License-Identifier: MIT
#
# wrapGAppsHook4: programs find their data and typelibs.
# shellcheck shell=bash disable=SC2154
preFixupPhases+=" gappsWrapperArgsHook"
gappsWrapperArgsHook()
{
    gappsWrapperArgs=(--prefix XDG_DATA_DIRS : "$prefix/share")
    addToSearchPath GI_TYPELIB_PATH "$prefix/lib/girepository-1.0"
    [ ! "$GI_TYPELIB_PATH" ] || gappsWrapperArgs+=(--prefix GI_TYPELIB_PATH : "$GI_TYPELIB_PATH")
}

wrapGApp()
{
    wrapProgram "$1" "${gappsWrapperArgs[@]}" "${@:2}"
}

wrapGAppsHook()
{
    local program
    [ ! "$dontWrapGApps" ] || return 0
    for program in "$prefix"/{bin,libexec}/*; do
        [ ! -f "$program" ] || [ ! -x "$program" ] || wrapGApp "$program"
    done
}
fixupOutputHooks+=(wrapGAppsHook)
