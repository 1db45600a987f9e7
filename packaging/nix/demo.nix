# SPDX-License-Identifier: MIT
#
# afork-demo [DIRECTORY]: makes thumbnails of the pictures there, or of samples, and shows them on one picture.
{
  lib,
  afork,
  coreutils,
  gdk-pixbuf,
  writeShellApplication,
}:

let
  perl = lib.getExe (
    afork.withPerlPackages (modules: [
      modules.GlibObjectIntrospection
      gdk-pixbuf
    ])
  );
in
writeShellApplication {
  name = "afork-demo";
  runtimeInputs = [ coreutils ];
  # The script wants a build directory, and makes its files there.
  text = ''
    pictures=''${1:+$(realpath "$1")}
    build=$(mktemp -d "''${TMPDIR:-/tmp}/afork-demo.XXXXXX")
    mkdir "$build/bin"
    ln -s ${perl} "$build/bin/perl"
    ln -s ${perl} ${lib.getExe' afork "afork-thumbnails"} "$build"
    PATH="$build/bin:$PATH" exec ${afork.src}/glib/tools/demo.sh "$pictures" "$build"
  '';
  meta.description = "Thumbnails by Perl workers";
}
