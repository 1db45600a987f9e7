# shellcheck shell=bash disable=SC1091,SC2154
# SPDX-License-Identifier: MIT
source "$stdenv/setup"
genericBuild
