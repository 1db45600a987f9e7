#!/bin/sh
# SPDX-License-Identifier: MIT
#
# demo.sh DIRECTORY BUILD-DIRECTORY: makes thumbnails of the pictures in DIRECTORY, or of samples if
# that is empty, with the programs of the build directory, in a cache of its own below it.
set -eu

tools=$(cd "$(dirname "$0")" && pwd)
pictures=$1
build=$2
demo=$build/demo

AFORK_PERL=$build/afork-perl
AFORK_THUMBNAILS_LIB=$tools/perl
XDG_CACHE_HOME=$demo/cache
export AFORK_PERL AFORK_THUMBNAILS_LIB XDG_CACHE_HOME

if [ -z "$pictures" ]; then
    pictures=$demo/pictures
    if [ ! -e "$pictures" ]; then
        echo "Making sample pictures in $pictures ..."
        mkdir -p "$pictures.new"
        perl "$tools/demo-pictures.pl" "$pictures.new"
        mv "$pictures.new" "$pictures"
    fi
fi

# A picture that fails is reported, and no reason to stop.
thumbnails()
{
    status=0
    "$build/afork-thumbnails" -r "$@" || status=$?
    [ "$status" -le 1 ] || exit "$status"
}

rm -rf "$XDG_CACHE_HOME"
echo "Making thumbnails of $pictures in $XDG_CACHE_HOME/thumbnails ..."
thumbnails "$pictures"

thumbnails --json "$pictures" | perl "$tools/demo-sheet.pl" "$demo/contact-sheet.png"
echo "Contact sheet: $demo/contact-sheet.png"
