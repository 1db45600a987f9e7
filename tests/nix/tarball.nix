# SPDX-License-Identifier: MIT
#
# What `make dist` makes of `source`, a whole tree, and what is built twice: from the tree, and from that without
# tests.
{ source }:

let
  overlay = import ../../packaging/nix/overlay.nix;
  pkgs = import ./nixpkgs { overlays = [ overlay ]; };
  pkgsOfTarball = import ./nixpkgs {
    overlays = [
      overlay
      (_final: previous: {
        afork = previous.afork.overrideAttrs {
          src = tarball;
          doCheck = false;
          doInstallCheck = false;
        };
      })
    ];
  };

  core = pkgs.afork.override {
    withGlib = false;
    withLibev = false;
    withLibuv = false;
    withPerl = false;
  };
  tarball = core.overrideAttrs {
    name = "afork-tarball.tar.xz";
    src = source;
    outputs = [ "out" ];
    postPatch = "";
    buildFlags = [ "dist" ];
    doCheck = false;
    installPhase = "mv afork-*.tar.xz $out";
    dontFixup = true;
  };

  outputs =
    pkgs:
    pkgs.lib.concatMap (package: package.all) [
      pkgs.afork # has all that is made but for the viewer
      (pkgs.afork.withPerlPackages (modules: [ modules.GlibObjectIntrospection ]))
    ];
in
{
  inherit tarball;
  first = outputs pkgs;
  second = outputs pkgsOfTarball;
}
