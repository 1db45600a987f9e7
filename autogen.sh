#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes configure and the Makefile.in from a checkout. What it writes is listed in .gitignore.
set -eu
cd "$(dirname "$0")"
exec autoreconf --force --install --warnings=all
