# SPDX-License-Identifier: MIT
#
# Functions that make small packages.
{
  lib,
  system,
  final,
}:

let
  inherit (final.stdenv) mkDerivation;
in
rec {
  runCommand =
    name: arguments: buildCommand:
    mkDerivation ({ strictDeps = true; } // arguments // { inherit name buildCommand; });
  runCommandCC = runCommand;

  writeTextFile =
    {
      name,
      text,
      executable ? false,
      destination ? "",
      meta ? { },
    }:
    runCommand name
      {
        inherit
          destination
          executable
          meta
          text
          ;
        passAsFile = [ "text" ];
      }
      ''
        mkdir -p "$(dirname "$out$destination")"
        cp "$textPath" "$out$destination"
        [ -z "$executable" ] || chmod +x "$out$destination"
      '';
  writeText = name: text: writeTextFile { inherit name text; };
  writeShellScriptBin =
    name: text:
    writeTextFile {
      inherit name;
      executable = true;
      destination = "/bin/${name}";
      text = "#!${final.stdenv.shell}\n${text}\n";
      meta.mainProgram = name;
    };
  writeShellApplication =
    {
      name,
      text,
      runtimeInputs ? [ ],
      meta ? { },
    }:
    writeTextFile {
      inherit name;
      executable = true;
      destination = "/bin/${name}";
      text = ''
        #!${final.stdenv.shell}
        set -o errexit -o nounset -o pipefail
        export PATH="${lib.makeBinPath runtimeInputs}''${PATH:+:$PATH}"
        ${text}
      '';
      meta = {
        mainProgram = name;
      }
      // meta;
    };

  makeFontsConf =
    { fontDirectories }:
    writeText "fonts.conf" ''
      <?xml version="1.0"?>
      <fontconfig>
        ${lib.concatMapStrings (directory: "<dir>${directory}</dir>") fontDirectories}
      </fontconfig>
    '';

  mkShell =
    {
      packages ? [ ],
      inputsFrom ? [ ],
      nativeBuildInputs ? [ ],
      buildInputs ? [ ],
    }:
    let
      # But for the packages themselves.
      ofOthers =
        kind:
        lib.subtractLists (lib.concatMap (package: package.all) inputsFrom) (
          lib.concatMap (package: package.${kind}) inputsFrom
        );
    in
    mkDerivation {
      name = "nix-shell";
      strictDeps = true;
      nativeBuildInputs = packages ++ nativeBuildInputs ++ ofOthers "nativeBuildInputs";
      buildInputs = buildInputs ++ ofOthers "buildInputs" ++ ofOthers "propagatedBuildInputs";
      buildCommand = "export > $out";
    };

  testers = {
    hasPkgConfigModules =
      {
        package,
        versionCheck ? false,
      }:
      runCommand "check-pkg-config-${package.pname}"
        {
          nativeBuildInputs = [ final.pkg-config ];
          buildInputs = [ package ];
        }
        ''
          for module in ${toString package.meta.pkgConfigModules}; do
            pkg-config --exists --print-errors $module
            version=$(pkg-config --modversion $module)
            echo "$module $version" >> $out
            [ "$version" = ${package.version} ] || ${
              lib.optionalString versionCheck "{ echo $module is not ${package.version}; exit 1; } ||"
            } true
          done
        '';
    # A virtual machine takes NixOS: its test is named, and left out.
    runNixOSTest =
      test:
      let
        inherit (if builtins.isPath test then import test else test) name;
      in
      writeText "skipped-nixos-test-${name}" "needs NixOS\n";
  };
}
