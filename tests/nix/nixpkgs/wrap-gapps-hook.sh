# SPDX-License-Identifier: MIT
#
# wrapGAppsHook4, for what a library package with a demo program needs.
# shellcheck shell=bash disable=SC2154
gappsWrapperArgs=()
gappsWrapperArgsHook() {
  if [[ -d $prefix/share ]]; then gappsWrapperArgs+=(--prefix XDG_DATA_DIRS : "$prefix/share"); fi
  if [[ -d $prefix/lib/girepository-1.0 ]]; then GI_TYPELIB_PATH="$prefix/lib/girepository-1.0${GI_TYPELIB_PATH:+:$GI_TYPELIB_PATH}"; fi
  if [[ -n ${GI_TYPELIB_PATH-} ]]; then gappsWrapperArgs+=(--prefix GI_TYPELIB_PATH : "$GI_TYPELIB_PATH"); fi
}
wrapGApp() { wrapProgram "$1" "${gappsWrapperArgs[@]}" "${@:2}"; }
wrapGAppsHook() {
  [[ -z ${dontWrapGApps-} ]] || return 0
  local f
  for f in "$prefix"/{bin,libexec}/*; do if [[ -f $f && -x $f ]]; then wrapGApp "$f"; fi; done
}
preFixupPhases="${preFixupPhases-} gappsWrapperArgsHook"
fixupOutputHooks+=(wrapGAppsHook)
