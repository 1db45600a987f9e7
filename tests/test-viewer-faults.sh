#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs tests/viewer-faults.c on a screen of its own. What assistive technology is told is looked at there.
set -u
. "${srcdir:-.}/tests/viewer-env.sh"
GTK_A11Y="test"
on_screen tests/viewer-faults
