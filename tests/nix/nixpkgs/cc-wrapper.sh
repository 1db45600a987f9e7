#!/bin/bash
# SPDX-License-Identifier: MIT
#
# cc of the stand-in stdenv: what nixpkgs' cc-wrapper adds, for one native
# compiler.  @real@ is the host's compiler.
# shellcheck disable=SC2054,SC2086
link=1 dirs=() extra=()
for a; do
  case $a in -c | -S | -E | -M | -MM) link= ;; -L/*) dirs+=("${a#-L}") ;; esac
done
on() { [[ ${NIX_HARDENING-} != *" all "* && ${NIX_HARDENING-} != *" $1 "* ]]; }
on format && extra+=(-Wformat -Wformat-security -Werror=format-security)
on stackprotector && extra+=(-fstack-protector-strong)
on strictoverflow && extra+=(-fno-strict-overflow)
if [[ $link && $# -gt 1 ]]; then
  # nixpkgs' gcc adds no build ID of itself; it would depend on the build path.
  extra+=(-Wl,--build-id=none)
  on relro && extra+=(-Wl,-z,relro)
  on bindnow && extra+=(-Wl,-z,now)
  for a in ${NIX_LDFLAGS-}; do
    [[ $a == -L* ]] && dirs+=("${a#-L}")
    extra+=("$a")
  done
  # Libraries that Nix built are found again at run time by their run path.
  for d in ${dirs+"${dirs[@]}"}; do [[ $d == "${NIX_STORE%/}"/* ]] && extra+=("-Wl,-rpath,$d"); done
fi
exec @real@ "${extra[@]}" "$@" ${NIX_CFLAGS_COMPILE-}
