# SPDX-License-Identifier: MIT
#
# The part of nixpkgs' lib that is used here, with its names and the order of its arguments. What is
# missing is Nix's own error.
let
  lib = rec {
    inherit (builtins)
      all
      any
      attrNames
      attrValues
      concatMap
      concatStringsSep
      elem
      filter
      foldl'
      head
      mapAttrs
      ;
    isFunction = f: builtins.isFunction f || (builtins.isAttrs f && f ? __functor);
    assertMsg = condition: message: condition || throw message;

    # --- Overlays and packages. ---

    fix = f: let x = f x; in x;
    extends = overlay: f: final: let prev = f final; in prev // overlay final prev;

    makeOverridable =
      f: args:
      let
        result = f args;
        change = changes: if isFunction changes then changes args else changes;
      in
      if !builtins.isAttrs result then
        result
      else
        result
        // {
          override = changes: makeOverridable f (args // change changes);
        }
        // optionalAttrs (result ? overrideAttrs) {
          overrideAttrs = changes: makeOverridable (args: (f args).overrideAttrs changes) args;
        };

    callPackageWith =
      auto: fn: args:
      let
        f = if isFunction fn then fn else import fn;
        wanted = builtins.functionArgs f;
        found = builtins.intersectAttrs wanted auto // args;
        missing = filter (name: !wanted.${name} && !(found ? ${name})) (attrNames wanted);
      in
      if missing == [ ] then
        makeOverridable f found
      else
        throw "stub nixpkgs has no package '${concatStringsSep "', '" missing}'; is the name right?";

    isDerivation = x: (x.type or null) == "derivation";
    getOutput = name: p: if p.outputSpecified or false then p else p.${name} or p.out or p;
    getDev = getOutput "dev";
    getLib = getOutput "lib";
    getExe =
      p: getExe' p (p.meta.mainProgram or (throw "getExe: ${p.name} has no meta.mainProgram"));
    getExe' = p: name: "${getOutput "bin" p}/bin/${name}";
    closePropagation =
      packages:
      foldl' (all: p: if elem p all then all else all ++ [ p ]) [ ] (
        concatMap (p: [ p ] ++ closePropagation (p.propagatedBuildInputs or [ ])) packages
      );

    # --- Lists, sets and strings. ---

    words = s: filter (word: builtins.isString word && word != "") (builtins.split " +" s); # not of nixpkgs

    optional = condition: x: if condition then [ x ] else [ ];
    optionals = condition: list: if condition then list else [ ];
    flatten = x: if builtins.isList x then concatMap flatten x else [ x ];
    remove = x: filter (y: y != x);
    subtractLists = without: filter (x: !elem x without);

    genAttrs =
      names: f:
      builtins.listToAttrs (
        map (name: {
          inherit name;
          value = f name;
        }) names
      );
    filterAttrs =
      predicate: set:
      builtins.removeAttrs set (filter (name: !predicate name set.${name}) (attrNames set));
    mapAttrsToList = f: set: map (name: f name set.${name}) (attrNames set);
    optionalAttrs = condition: set: if condition then set else { };

    optionalString = condition: s: if condition then s else "";
    concatMapStrings = f: list: concatStringsSep "" (map f list);
    hasPrefix = prefix: s: builtins.substring 0 (builtins.stringLength prefix) s == prefix;
    hasSuffix =
      suffix: s:
      let
        more = builtins.stringLength s - builtins.stringLength suffix;
      in
      more >= 0 && builtins.substring more (-1) s == suffix;
    makeSearchPathOutput =
      output: directory: packages:
      concatStringsSep ":" (map (p: "${getOutput output p}/${directory}") packages);
    makeBinPath = makeSearchPathOutput "bin" "bin";
    enableFeature = flag: name: "--${if flag then "enable" else "disable"}-${name}";
    withFeature = flag: name: "--${if flag then "with" else "without"}-${name}";

    # --- Sources. ---

    # A set of files is two predicates of absolute paths: whether a file is in it, and whether a directory
    # may hold one that is.
    fileset = rec {
      coerce =
        x:
        if x ? _file then
          x
        else
          let
            path = toString x;
          in
          assert assertMsg (builtins.pathExists x) "lib.fileset: ${path} does not exist";
          {
            _file = file: file == path || hasPrefix "${path}/" file;
            directory = dir: dir == path || hasPrefix "${path}/" dir || hasPrefix "${dir}/" path;
          };
      none = {
        _file = _: false;
        directory = _: false;
      };
      maybeMissing = x: if builtins.pathExists x then coerce x else none;
      unions = foldl' (
        x: y:
        let
          more = coerce y;
        in
        {
          _file = file: x._file file || more._file file;
          directory = dir: x.directory dir || more.directory dir;
        }
      ) none;
      difference = x: y: {
        _file = file: (coerce x)._file file && !(coerce y)._file file;
        inherit (coerce x) directory;
      };
      fileFilter =
        predicate: x:
        coerce x
        // {
          _file =
            file:
            (coerce x)._file file
            && predicate {
              name = baseNameOf file;
              hasExt = extension: hasSuffix ".${extension}" file;
            };
        };
      toSource =
        { root, fileset }:
        let
          wanted = coerce fileset;
        in
        {
          outPath = builtins.path {
            name = "source";
            path = root;
            filter = path: type: if type == "directory" then wanted.directory path else wanted._file path;
          };
        };
    };

    # --- Metadata. ---

    licenses = mapAttrs (_: spdxId: { inherit spdxId; }) {
      lgpl21Plus = "LGPL-2.1-or-later";
      mit = "MIT";
    };
    platforms = rec {
      linux = [
        "aarch64-linux"
        "x86_64-linux"
      ];
      all = linux ++ [
        "aarch64-darwin"
        "x86_64-darwin"
      ];
    };
    systems.flakeExposed = platforms.all;
    meta.availableOn = platform: package: elem platform.system package.meta.platforms;
  };
in
lib
