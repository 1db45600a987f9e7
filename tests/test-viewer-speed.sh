#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs tests/viewer-speed.c on a screen of its own.
set -u
. "${srcdir:-.}/tests/viewer-env.sh"
[ ! "${AFORK_TEST_SANITIZERS-}" ] || skip "sanitizers take most of the time"
on_screen tests/viewer-speed
