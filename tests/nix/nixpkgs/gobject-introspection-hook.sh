# SPDX-License-Identifier: MIT
#
# Descriptions of the inputs are found, and the package's own belong to its output for development.
# shellcheck shell=bash disable=SC2154
findTypelibs()
{
    addToSearchPath GI_TYPELIB_PATH "$1/lib/girepository-1.0"
    [ ! -d "$1/share/gir-1.0" ] || addToSearchPath XDG_DATA_DIRS "$1/share"
}
addEnvHooks "$targetOffset" findTypelibs

moveDescriptions()
{
    moveToOutput share/gir-1.0 "${!outputDev}"
}
preFixupHooks+=(moveDescriptions)
export outputLib out # for g-ir-scanner
