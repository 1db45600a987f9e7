#!/bin/sh
# SPDX-License-Identifier: MIT
#
# viewer-screenshots.sh DIRECTORY: makes pictures of afork-viewer there, to be looked at.
set -eu
. "${srcdir:-.}/tests/viewer-env.sh"
mkdir -p "$1"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/Holidays"
"${PERL:-perl}" "${srcdir:-.}/glib/tools/demo-pictures.pl" "$work/Holidays"
mv "$work/Holidays/corrupt.jpg" "$work/Holidays/picture-08.jpg"
xvfb-run -a -s "-screen 0 1000x700x24" tests/viewer-screenshots "$work/Holidays" "$1"
for picture in "$1"/viewer-*.png; do
    convert "$picture" +dither -colors 255 -strip "PNG8:$picture"
done
