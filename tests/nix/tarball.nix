# SPDX-License-Identifier: MIT
#
# What `make dist` makes of `source`, a whole tree; and afork from that, without its tests.
{ source }:

let
  pkgs = import ./nixpkgs { overlays = [ (import ../../packaging/nix/overlay.nix) ]; };
  core = pkgs.afork.override {
    withGlib = false;
    withLibev = false;
    withLibuv = false;
    withPerl = false;
  };
in
rec {
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

  afork = pkgs.afork.overrideAttrs {
    src = tarball;
    doCheck = false;
    doInstallCheck = false;
  };
}
