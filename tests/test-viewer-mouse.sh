#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs tests/viewer-mouse.c on a screen of its own.
set -u
. "${srcdir:-.}/tests/viewer-env.sh"
command -v xdotool >/dev/null || skip "there is no xdotool"
on_screen tests/viewer-mouse
