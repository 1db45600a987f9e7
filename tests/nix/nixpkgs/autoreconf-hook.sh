# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: MIT
#
# aclocal is told not to look into the host's /usr/share/aclocal, so that a
# macro is found only if the package that brings it is a native input.
export ACLOCAL="aclocal --system-acdir=$1/nix-support" # $1: this package
preConfigurePhases="${preConfigurePhases-} autoreconfPhase"
autoreconfPhase() {
  runHook preAutoreconf
  autoreconf ${autoreconfFlags:---install --force --verbose}
  runHook postAutoreconf
}
