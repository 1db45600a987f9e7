# SPDX-License-Identifier: MIT
#
# valac finds the interfaces of the inputs, and the package's own belong to its output for development.
# shellcheck shell=bash disable=SC2154
findInterfaces()
{
    [ ! -d "$1/share/vala/vapi" ] || addToSearchPath XDG_DATA_DIRS "$1/share"
}
addEnvHooks "$targetOffset" findInterfaces

moveInterfaces()
{
    moveToOutput share/vala/vapi "${!outputDev}"
}
preFixupHooks+=(moveInterfaces)
