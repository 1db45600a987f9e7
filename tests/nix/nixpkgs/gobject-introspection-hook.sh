# shellcheck shell=bash disable=SC2154
# SPDX-License-Identifier: MIT
#
# As in nixpkgs: the .gir file belongs to the development output.
_multioutMoveGlibGir() { moveToOutput share/gir-1.0 "${!outputDev}"; }
preFixupHooks+=(_multioutMoveGlibGir)
export outputLib out # for g-ir-scanner
