#!/bin/bash
# SPDX-License-Identifier: MIT
#
# cc: the host's compiler, @real@, with what nixpkgs' wrapper adds.
# shellcheck disable=SC2054,SC2086,SC2206
links=yes
directories=()
options=(-Wformat -Wformat-security -Werror=format-security -fstack-protector-strong -fno-strict-overflow)
for argument in "$@" $NIX_LDFLAGS; do
    case $argument in
    -c | -S | -E | -M | -MM) links= ;;
    -L/*) directories+=("${argument#-L}") ;;
    esac
done
if [ "$links" ] && [ $# -gt 1 ]; then
    # An ID of the build would depend on its directory.
    options+=(-Wl,--build-id=none -Wl,-z,relro -Wl,-z,now $NIX_LDFLAGS)
    # What Nix built is found there by those who run the program, too.
    for directory in "${directories[@]}"; do
        [[ $directory != "${NIX_STORE%/}"/* ]] || options+=("-Wl,-rpath,$directory")
    done
fi
exec @real@ "${options[@]}" "$@" $NIX_CFLAGS_COMPILE
