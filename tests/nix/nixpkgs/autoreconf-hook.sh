# SPDX-License-Identifier: MIT
#
# autoreconfHook. aclocal does not look into the host's /usr/share/aclocal: a macro is found only if the package that
# brings it is a native input.
# shellcheck shell=bash disable=SC2034
export ACLOCAL="aclocal --system-acdir=$1/nix-support" # of this package
preConfigurePhases+=" autoreconfPhase"

autoreconfPhase()
{
    runHook preAutoreconf
    autoreconf --install --force --verbose
    runHook postAutoreconf
}
