# SPDX-License-Identifier: MIT
{
  description = "Perl worker processes for programs built around an event loop";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      eachSystem =
        f:
        lib.genAttrs systems (
          system:
          f (
            import nixpkgs {
              inherit system;
              overlays = [ self.overlays.default ];
            }
          )
        );
    in
    {
      overlays.default = import ./packaging/nix/overlay.nix;

      packages = eachSystem (pkgs: {
        default = pkgs.afork;
        inherit (pkgs) afork afork-minimal afork-viewer;
      });

      checks = eachSystem (pkgs: {
        inherit (pkgs) afork afork-minimal afork-viewer;
        vm = pkgs.testers.runNixOSTest ./packaging/nix/vm-test.nix;
      } // import ./packaging/nix/checks.nix { inherit pkgs; });

      apps = eachSystem (
        pkgs:
        let
          app = package: name: {
            type = "app";
            program = lib.getExe' package name;
            meta = { inherit (package.meta) description; };
          };
        in
        {
          default = app pkgs.afork "afork-run";
          afork-run = app pkgs.afork "afork-run";
          afork-thumbnails = app pkgs.afork "afork-thumbnails";
          viewer = app pkgs.afork-viewer "afork-viewer";
          demo = app (pkgs.callPackage ./packaging/nix/demo.nix { }) "afork-demo";
        }
      );

      devShells = eachSystem (pkgs: {
        default = pkgs.mkShell {
          inputsFrom = [
            pkgs.afork
            pkgs.afork-viewer
          ];
          packages = [
            pkgs.clang-tools
            pkgs.gdb
            pkgs.shellcheck
            pkgs.valgrind
            pkgs.xvfb-run
          ];
        };
      });

      formatter = eachSystem (pkgs: pkgs.nixfmt-tree);
    };
}
