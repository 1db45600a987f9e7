#!/bin/bash
# SPDX-License-Identifier: MIT
#
# As in nixpkgs, a description names the libraries that are built with it by the path where they will be.
@real@ "$@" || exit
while [[ $# -gt 1 && $1 != --output ]]; do shift; done
if [[ $# -gt 1 ]]; then
  sed -i -E "/shared-library=/s,([\"\\,])(lib[^/\",]*),\1${!outputLib:-$out}/lib/\2,g" "$2"
fi
