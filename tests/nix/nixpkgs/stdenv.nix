# SPDX-License-Identifier: MIT
#
# stdenv: mkDerivation, and the programs that are in PATH before a package names any.
{
  lib,
  system,
  buildSystem,
  emulators,
  final,
}:

let
  # No perl, no python, no pkg-config, no autoconf.
  initialPath = final.hostDerivation {
    name = "stub-initial-path";
    ccWrapper = ./cc-wrapper.sh;
    tools = ''
      bash sh env true false test [ expr printf echo seq yes sleep timeout nproc uname arch whoami id tty
      cat head tail tac cut paste join sort uniq tr wc tee split comm fmt fold nl od expand tsort shuf
      cp mv rm rmdir mkdir ln ls install touch chmod chown mktemp mkfifo mknod truncate stat dd df du sync
      readlink realpath basename dirname pwd date nice nohup stdbuf cksum md5sum sha1sum sha256sum base64
      find xargs diff cmp diff3 sdiff sed grep egrep fgrep awk tar gzip gunzip zcat bzip2 xz unxz xzcat
      patch make file cpp as ld ar nm ranlib strip objdump objcopy readelf size strings addr2line c++filt
      gcc-ar gcc-nm gcc-ranlib gcov ldd getconf
    '';
    script = ''
      mkdir -p $out/bin
      for tool in $tools; do
        path=$(type -P $tool) || { echo "stub: the host has no $tool" >&2; exit 1; }
        ln -s $path $out/bin/$tool
      done
      for tool in cc gcc c++ g++; do
        sed "s,@real@,$(type -P $tool)," $ccWrapper > $out/bin/$tool
        chmod +x $out/bin/$tool
      done
    '';
  };

  # Which package a shared library is of.
  claims =
    lib.concatMapStrings (package: "${package.pname} ${package.sonames}\n") (
      lib.filter (package: package.sonames != "") (lib.attrValues final.hostPackages)
    )
    + "libc ld-linux*.so* libc.so* libdl.so* libgcc_s.so* libm.so* libpthread.so* librt.so* libstdc++.so*\n";

  stdenvDerivation = final.hostDerivation {
    name = "stub-stdenv";
    setup = ./setup.sh;
    passAsFile = [ "claims" ];
    inherit claims initialPath;
    script = ''
      mkdir $out
      cp $setup $out/setup
      cp $claimsPath $out/claims
      ln -s $initialPath $out/initial-path
    '';
  };

  platformOf = system: {
    inherit system;
    isLinux = lib.hasSuffix "-linux" system;
    isDarwin = lib.hasSuffix "-darwin" system;
    canExecute = other: system == other.system;
    emulatorAvailable = _: system == buildSystem || emulators;
  };

  # --- Metadata. ---

  knownMeta = lib.words (
    "broken changelog description downloadPage homepage license longDescription mainProgram maintainers "
    + "pkgConfigModules platforms teams"
  );
  checkMeta =
    name: meta:
    let
      unknown = lib.filter (key: !lib.elem key knownMeta) (lib.attrNames meta);
      description = meta.description or "";
    in
    if unknown != [ ] then
      throw "${name}: unknown meta.${lib.head unknown}"
    else if
      lib.hasSuffix "." description
      || lib.any (article: lib.hasPrefix article description) [
        "A "
        "An "
        "The "
      ]
    then
      throw "${name}: meta.description must not begin with an article nor end with a full stop"
    else if meta.broken or false then
      throw "${name} is marked as broken"
    else
      meta;

  # --- mkDerivation. ---

  mkDerivation = arguments: fromFinal (if lib.isFunction arguments then arguments else _: arguments);

  fromFinal =
    f:
    let
      arguments = f (arguments // { finalPackage = package; });
      package = fromArguments arguments // {
        overrideAttrs =
          changes:
          fromFinal (
            finalAttrs:
            let
              previous = f finalAttrs;
              given = if lib.isFunction changes then changes previous else changes;
            in
            # It may be a function of both.
            previous // (if lib.isFunction given then changes finalAttrs previous else given)
          );
      };
    in
    package;

  # Lists of words: in nixpkgs a blank in an element makes two of it.
  flagKinds = lib.words "buildFlags checkFlags checkTarget configureFlags installFlags installTargets makeFlags";

  # What nixpkgs has, and setup.sh has not.
  unsupported = lib.words (
    "configureScript dontAddPrefix dontDisableStatic dontStrip hardeningDisable makefile patches phases prePhases "
    + "setOutputFlags setupHook sourceRoot srcs"
  );

  inputKinds = lib.words "nativeBuildInputs buildInputs propagatedBuildInputs propagatedNativeBuildInputs";

  fromArguments =
    arguments:
    let
      name = arguments.name or "${arguments.pname}-${arguments.version}";
      outputs = arguments.outputs or [ "out" ];
      meta = checkMeta name (arguments.meta or { });
      available = lib.elem system (meta.platforms or [ system ]);

      wanted = kind: lib.flatten (arguments.${kind} or [ ]);
      whenChecked =
        flag: kind: if arguments.${flag} or false then wanted kind else [ ];
      inputs = {
        nativeBuildInputs =
          wanted "nativeBuildInputs"
          ++ whenChecked "doCheck" "nativeCheckInputs"
          ++ whenChecked "doInstallCheck" "nativeInstallCheckInputs";
        buildInputs = wanted "buildInputs" ++ whenChecked "doCheck" "checkInputs";
        propagatedBuildInputs = wanted "propagatedBuildInputs";
        propagatedNativeBuildInputs = wanted "propagatedNativeBuildInputs";
      };
      nulls = lib.filter (kind: lib.elem null inputs.${kind}) inputKinds;
      env = arguments.env or { };
      twice = lib.filter (key: arguments ? ${key}) (lib.attrNames env);
      unknown = lib.filter (key: arguments ? ${key}) unsupported;
      hasBlank = flag: builtins.match ".*[[:space:]].*" "${flag}" != null;
      blanks = lib.filter (
        kind: builtins.isList (arguments.${kind} or null) && lib.any hasBlank (lib.flatten arguments.${kind})
      ) flagKinds;

      drv = derivation (
        builtins.removeAttrs arguments (
          inputKinds ++ lib.words "checkInputs env meta nativeCheckInputs nativeInstallCheckInputs passthru"
        )
        // env
        // lib.optionalAttrs (arguments.enableParallelBuilding or false) {
          enableParallelChecking = arguments.enableParallelChecking or true;
          enableParallelInstalling = arguments.enableParallelInstalling or true;
        }
        // lib.mapAttrs (_: map (input: "${lib.getDev input}")) inputs
        // {
          inherit
            initialPath
            name
            outputs
            system
            ;
          strictDeps = arguments.strictDeps or false;
          builder = "/bin/bash";
          args = [
            "-e"
            ./builder.sh
          ];
          stdenv = stdenvDerivation;
        }
        // lib.optionalAttrs (arguments ? src) { src = "${arguments.src}"; }
      );

      common =
        arguments
        // inputs
        // {
          type = "derivation";
          inherit name outputs system;
          meta = meta // {
            inherit available;
          };
          drvPath = if available then drv.drvPath else throw "${name} is not available on ${system}";
          inherit (final) stdenv;
          outputName = lib.head outputs;
          all = map (output: byOutput.${output}) outputs;
        }
        // (arguments.passthru or { });
      byOutput = lib.genAttrs outputs (
        output:
        common
        // byOutput
        // {
          outPath = if available then drv.${output}.outPath else throw "${name} is not available on ${system}";
          outputName = output;
          outputSpecified = true;
        }
      );
    in
    if twice != [ ] then
      throw "${name}: ${lib.head twice} is set both in env and outside"
    else if unknown != [ ] then
      throw "${name}: the stand-in has no ${lib.head unknown}"
    else if blanks != [ ] then
      throw "${name}: an element of ${lib.head blanks} has blanks, which make several words of it"
    else if nulls != [ ] then
      throw "${name}: null in ${lib.head nulls}"
    else
      common // byOutput // { inherit (byOutput.${lib.head outputs}) outPath; };
in
{
  stdenv = {
    inherit mkDerivation;
    hostPlatform = platformOf system;
    buildPlatform = platformOf buildSystem;
    shell = "${initialPath}/bin/bash";
    inherit (stdenvDerivation) outPath;
  };
}
