# SPDX-License-Identifier: MIT
#
# What the stand-in has to find: packages that must not be built, each with the words, a regular
# expression, that it must fail with. With `again` it is the second build that has to fail; without words
# it has to go well.
{
  tarball, # of the sources, as `make dist` makes it
  pkgs ? import ./nixpkgs { overlays = [ (import ../../packaging/nix/overlay.nix) ]; },
}:

let
  inherit (pkgs) lib stdenv;

  # A small package in the manner of Autotools: a library that needs two others, and a header.
  small =
    changes:
    stdenv.mkDerivation (
      {
        name = "small";
        strictDeps = true;
        outputs = [
          "out"
          "dev"
        ];
        nativeBuildInputs = [ pkgs.pkg-config ];
        buildInputs = [
          pkgs.libev
          pkgs.libuv
        ];
        code = ''
          #include <ev.h>
          #include <uv.h>
          int code(void) { return ev_version_major() + (int)uv_version(); }
        '';
        configure = ''
          #!/bin/sh
          # It has enable-static and dependency-tracking.
          echo "$*" > flags
          case $* in *typo*) echo 'configure: WARNING: unrecognized options: --with-typo' > config.log ;; esac
          pkg-config --print-errors --exists libuv $modules
        '';
        rules = ''
          where = $(shell sed -n 's/.*--$(1)=\([^ ]*\).*/\1/p' flags)
          libcode.so: code.c
          	$(CC) -shared -fPIC -o $@ $(FLAGS) code.c -lev -luv
          module = mkdir $(call where,libdir)/pkgconfig; echo '$(1)' > $(call where,libdir)/pkgconfig/small.pc
          check:
          	$(CHECK)
          install:
          	install -D libcode.so $(call where,libdir)/libcode.so
          	install -D -m 644 code.c $(call where,includedir)/code.h
          	$(INSTALL)
        '';
        unpackPhase = ''
          mkdir source
          cd source
          printf '%s\n' "$configure" > configure
          printf '%s\n' "$code" > code.c
          printf '%s\n' "$rules" > Makefile
          chmod +x configure
        '';
        doCheck = true;
        meta.description = "Library";
      }
      // changes
    );

  fault = words: changes: {
    inherit words;
    package = small changes;
  };

  # From the tarball, which has its configure: this is what most faults are found by, and soon.
  configured =
    package:
    package.overrideAttrs (old: {
      src = tarball;
      nativeBuildInputs = lib.remove pkgs.autoreconfHook old.nativeBuildInputs;
    });
  core = configured (
    pkgs.afork.override {
      withGlib = false;
      withLibev = false;
      withLibuv = false;
      withPerl = false;
    }
  );
  without =
    input: package:
    package.overrideAttrs (
      old:
      lib.genAttrs [ "buildInputs" "nativeBuildInputs" "propagatedBuildInputs" ] (
        kind: lib.remove input old.${kind}
      )
    );

  perlModule =
    text:
    pkgs.perlPackages.buildPerlPackage {
      pname = "Small";
      version = "1";
      inherit text;
      unpackPhase = ''
        mkdir -p source/lib
        cd source
        printf '%s\n' "$text" > lib/Small.pm
        echo 'use ExtUtils::MakeMaker; WriteMakefile(NAME => "Small", VERSION => 1);' > Makefile.PL
      '';
    };
in
{
  none =
    fault "" {
      preCheck = ''
        checkFlagsArray+=("TEXT=two words")
      '';
      CHECK = "test '$(TEXT)/$(VERBOSE)' = 'two words/y'";
      propagatedBuildInputs = [ pkgs.libuv ];
      INSTALL = "echo /build-aux > $(call where,includedir)/small.h; $(call module,Libs: -lcode -luv -lm)";
    }
    // {
      again = true;
    };

  undeclared-library = fault "needs libev.so.4, but libev is not in buildInputs" {
    buildInputs = [ pkgs.libuv ];
  };
  undeclared-module = fault "Package '?libuv'?.* not found" { buildInputs = [ pkgs.libev ]; };
  library-as-tool = fault "needs libev.so.4, but libev is not in buildInputs" {
    buildInputs = [ pkgs.libuv ];
    nativeBuildInputs = [
      pkgs.pkg-config
      pkgs.libev
    ];
  };
  perl-as-tool = fault "needs libperl.so.*, but perl is not in buildInputs" {
    FLAGS = "-Wl,--no-as-needed -lperl";
    nativeBuildInputs = [
      pkgs.perl
      pkgs.pkg-config
    ];
  };
  vala-as-tool = fault "Package '?vapigen'?.* not found" {
    modules = "vapigen";
    nativeBuildInputs = [
      pkgs.pkg-config
      pkgs.vala
    ];
  };
  undeclared-library-of-a-command = {
    words = "needs libev.so.4, but libev is not in buildInputs";
    package = pkgs.runCommandCC "small" { } ''
      echo 'int ev_version_major(void); int main(void) { return ev_version_major(); }' > small.c
      $CC small.c -lev -o $out
    '';
  };
  library-not-propagated = fault "has -lev, but libev is not in propagatedBuildInputs" {
    INSTALL = "$(call module,Libs: -lcode -lev)";
  };
  module-not-propagated = fault "requires libuv, which is not in propagatedBuildInputs" {
    INSTALL = "$(call module,Requires.private: libuv >= 1)";
  };
  tool-as-library = fault "pkg-config: (command )?not found" {
    nativeBuildInputs = [ ];
    buildInputs = [
      pkgs.libev
      pkgs.libuv
      pkgs.pkg-config
    ];
  };
  undeclared-tool = fault "perl: .*not found|perl: No such file" { CHECK = "perl -e 1"; };
  undeclared-macro = fault "possibly undefined macro" {
    nativeBuildInputs = [ pkgs.autoreconfHook ];
    configure_ac = ''
      AC_INIT([small], [1])
      m4_pattern_forbid([^PKG_])
      PKG_CHECK_MODULES([UV], [libuv])
      AC_OUTPUT
    '';
    preAutoreconf = ''
      rm configure
      printf '%s\n' "$configure_ac" > configure.ac
    '';
  };
  unknown-flag = fault "unrecognized options: --with-typo" { configureFlags = [ "--with-typo" ]; };
  flag-with-blanks = fault "an element of makeFlags has blanks" { makeFlags = [ "FLAGS=-O0 -g" ]; };
  flags-of-the-check = fault "make check failed" {
    checkFlags = [ "TEXT=word" ];
    CHECK = "test '$(VERBOSE)' = y";
  };
  unsupported = fault "the stand-in has no patches" { patches = [ ./faults.nix ]; };
  perl-module = {
    words = "";
    package = perlModule "package Small; 1;\n\n=head1 NAME\n\nSmall - it";
  };
  perl-module-without-documentation = {
    words = "failed to produce output path for output 'devdoc'";
    package = perlModule "package Small; 1;";
  };
  broken = fault "is marked as broken" { meta.broken = true; };
  unknown-package = {
    words = "no package 'libuv1'";
    package = pkgs.callPackage ({ libuv1 }: small { buildInputs = [ libuv1 ]; }) { };
  };
  no-package = fault "null in buildInputs" {
    buildInputs = [
      pkgs.libev
      pkgs.libuv
      null
    ];
  };
  article = fault "must not begin with an article" { meta.description = "A library"; };

  network = fault "make check failed" {
    nativeBuildInputs = [
      pkgs.perl
      pkgs.pkg-config
    ];
    CHECK = "perl -MIO::Socket::INET -e 'IO::Socket::INET->new(q(192.0.2.1:80)) or die q(no network)'";
  };
  failing-check = fault "make check failed" { CHECK = "false"; };
  install-outside = fault "cannot create directory|Permission denied" {
    INSTALL = "mkdir -p /usr/share/afork-planted";
  };
  insecure-format = fault "format-security" {
    code = ''
      #include <stdio.h>
      int code(const char *text) { return printf(text); }
    '';
  };
  build-place-in-a-library = fault "names the build directory" {
    FLAGS = "-DPLACE='\"$(CURDIR)\"'";
    code = ''
      const char *code(void) { return PLACE; }
    '';
    INSTALL = "chmod -x $(call where,libdir)/libcode.so";
  };
  build-place-in-a-module = fault "names the build directory" { INSTALL = "$(call module,prefix=$(CURDIR))"; };
  build-place-in-a-page = fault "names the build directory" {
    INSTALL = "mkdir -p $(call where,mandir)/man1; echo $(CURDIR) > $(call where,mandir)/man1/small.1";
  };
  build-place-beside = fault "names the build directory" {
    INSTALL = "echo /build-x > $(call where,includedir)/small.h";
  };
  build-run-path = fault "has a bad run path" { FLAGS = "-Wl,-rpath,$(CURDIR)"; };
  build-time = fault "may not be deterministic" {
    FLAGS = "-DTIME=$(shell date +%s%N)";
    code = ''
      long code(void) { return TIME; }
    '';
  } // { again = true; };
  dangling-link = fault "broken symlink" { INSTALL = "ln -s nothing $(call where,includedir)/link.h"; };
  unknown-interpreter = fault "interpreter perl is not among the build inputs" {
    INSTALL = "(echo '#!/usr/bin/perl'; echo 1) > $(call where,libdir)/script; chmod +x $(call where,libdir)/script";
  };
  outputs-in-a-ring = fault "cycle detected" {
    INSTALL = "cd $(call where,libdir); ln -s $$PWD $(call where,includedir)/lib; ln -s $(call where,includedir)";
  };

  # Of afork itself.
  afork-unknown-flag = {
    words = "unrecognized options: --with-typo";
    package = core.overrideAttrs (old: {
      configureFlags = old.configureFlags ++ [ "--with-typo" ];
    });
  };
  afork-missing-input = {
    words = "--with-libuv was given, but what it needs was not found";
    package = without pkgs.libuv (core.override { withLibuv = true; });
  };
  afork-without-glib = {
    words = "--with-glib was given, but what it needs was not found";
    package = without pkgs.json-glib (
      without pkgs.glib (
        core.override {
          withGlib = true;
          withIntrospection = false;
        }
      )
    );
  };
  afork-without-gi-docgen = {
    words = "--enable-docs needs the introspection, gi-docgen";
    package = without pkgs.gi-docgen (configured pkgs.afork);
  };
  afork-undeclared-library = {
    words = "needs libev.so.4, but libev is not in buildInputs";
    package =
      (without pkgs.libev (core.override { withLibev = true; })).overrideAttrs
        { doCheck = false; };
  };
  afork-perl-not-declared = {
    words = "--with-perl was given, but what it needs was not found";
    package = configured (pkgs.afork-minimal.overrideAttrs (old: {
      nativeBuildInputs = lib.remove pkgs.perl old.nativeBuildInputs;
      postPatch = "";
    }));
  };
  afork-perl-without-multiplicity = {
    words = "was built without MULTIPLICITY";
    package = configured (
      pkgs.afork-minimal.override {
        perl =
          pkgs.perl
          // pkgs.writeShellScriptBin "perl" ''
            case "$*" in *usemultiplicity*) echo no; exit ;; esac
            exec ${lib.getExe pkgs.perl} "$@"
          '';
      }
    );
  };
  afork-parts-that-others-need = {
    words = "withGtk needs withGlib and withPerl";
    package = pkgs.afork.override {
      withGtk = true;
      withPerl = false;
    };
  };
  afork-foreign-module = {
    words = "Other is a module of perl-5.8.8, and afork-perl is perl-";
    package = pkgs.afork.withPerlPackages (_: [
      (
        pkgs.libev
        // {
          name = "Other";
          perlModule = pkgs.libev // {
            name = "perl-5.8.8";
          };
        }
      )
    ]);
  };
  afork-elsewhere = {
    words = "not available on aarch64-darwin";
    package =
      (import ./nixpkgs {
        system = "aarch64-darwin";
        overlays = [ (import ../../packaging/nix/overlay.nix) ];
      }).afork;
  };
}
