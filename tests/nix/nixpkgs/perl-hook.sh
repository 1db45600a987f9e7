# SPDX-License-Identifier: MIT
#
# perl finds the modules of the inputs.
# shellcheck shell=bash disable=SC2154
findModules()
{
    addToSearchPath PERL5LIB "$1/lib/perl5/site_perl"
}
addEnvHooks "$hostOffset" findModules
