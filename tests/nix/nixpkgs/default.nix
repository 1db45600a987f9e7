# SPDX-License-Identifier: MIT
#
# What `import nixpkgs { ... }` gives.
{
  system ? builtins.currentSystem,
  buildSystem ? system,
  emulators ? true, # whether the build machine has them for other systems, as it has with the real nixpkgs
  overlays ? [ ],
  ...
}:

let
  lib = import ./lib.nix;
  base =
    final:
    let
      callPackage = lib.callPackageWith (final // { inherit lib; });
    in
    {
      inherit callPackage lib;
      newScope = extra: lib.callPackageWith (final // extra);
      buildPackages = final;
      # To be evaluated only: nothing is built for another machine.
      pkgsCross.aarch64-multiplatform = import ./. {
        system = "aarch64-linux";
        buildSystem = system;
        inherit emulators overlays;
      };
    }
    // import ./host.nix { inherit lib system final; }
    // import ./stdenv.nix {
      inherit
        lib
        system
        buildSystem
        emulators
        final
        ;
    }
    // import ./builders.nix { inherit lib system final; }
    // import ./perl.nix { inherit lib final; };
in
lib.fix (lib.foldl' (f: overlay: lib.extends overlay f) base overlays)
