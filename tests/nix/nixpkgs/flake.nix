# SPDX-License-Identifier: MIT
#
# A stand-in for nixpkgs, which takes every program and library from the host's /usr, so that a flake can be
# evaluated, built and tested without network:
#
#   nix build --offline --override-input nixpkgs path:./tests/nix/nixpkgs
#
# What is built with it runs on this host alone, and only with what is installed now.
{
  description = "Stand-in for nixpkgs";

  outputs =
    { self }:
    let
      lib = import ./lib.nix;
    in
    {
      inherit lib;
      legacyPackages = lib.genAttrs lib.systems.flakeExposed (system: import ./. { inherit system; });
    };
}
