# SPDX-License-Identifier: MIT
final: _prev: {
  afork = final.callPackage ./package.nix { };

  # The core and its perl, for any loop.
  afork-minimal = final.afork.override {
    withGlib = false;
    withLibev = false;
    withLibuv = false;
  };

  afork-viewer = final.afork.override {
    withGtk = true;
    withIntrospection = false;
    withLibev = false;
    withLibuv = false;
  };
}
