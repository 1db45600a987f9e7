# SPDX-License-Identifier: MIT
#
# afork as its users have it: programs in four languages, workers with modules, and the tools.
{ pkgs }:

let
  inherit (pkgs) afork lib runCommand;
  inherit (afork) perl;

  examples = ../../doc/examples;

  # The sums of some files by "$@", a program from the examples, are those of md5sum.
  compare = ''
    echo one > one
    echo two > two
    compare() {
      "$@" one two | sort > sums
      md5sum one two | sort | diff - sums
    }
  '';
  consumer =
    name: inputs: text:
    pkgs.runCommandCC "afork-${name}" (
      {
        strictDeps = true;
        buildInputs = [ afork ];
      }
      // inputs
    ) (compare + text);

  # A module of somebody else's, as a Perl package.
  module =
    name: build:
    perl.pkgs.toPerlModule (
      pkgs.runCommandCC "perl-${name}"
        {
          strictDeps = true;
          nativeBuildInputs = [ perl ];
        }
        ''
          lib=$out/${perl.libPrefix}
          mkdir -p "$lib"
          ${build}
        ''
    );
  greeting = module "Greeting" ''
    echo 'package Greeting; sub greet { "hello, $_[0]" } 1;' > "$lib/Greeting.pm"
  '';
  # As if it were built for a perl whose interpreter is of another size, or of another version.
  foreign =
    name: code:
    module name ''
      mkdir -p "$lib/auto/${name}"
      echo 'package ${name}; require XSLoader; XSLoader::load(); 1;' > "$lib/${name}.pm"
      cat > module.c <<'END'
      #include <EXTERN.h>
      #include <perl.h>
      #include <XSUB.h>
      XS_EXTERNAL(boot_${name})
      {
          ${code}
      }
      END
      $CC -shared -fPIC $(perl -MExtUtils::Embed -e ccopts) module.c -o "$lib/auto/${name}/${name}.so"
    '';
  size = foreign "Size" ''Perl_xs_handshake(0x0bad0000, aTHX, "Size.c");'';
  version = foreign "Version" ''
    CV *self = cv;
    Perl_xs_handshake(HS_KEY(FALSE, TRUE, "v5.8.0", ""), HS_CXT, "Version.c", "v5.8.0");
  '';

  worker = afork.withPerlPackages (_: [
    greeting
    size
    version
  ]);
in
{
  inherit (afork.tests) pkg-config;
  pkg-config-minimal = pkgs.afork-minimal.tests.pkg-config;
  pkg-config-core = (afork.override { withGlib = false; withPerl = false; }).tests.pkg-config;

  consumer-c = consumer "consumer-c" { nativeBuildInputs = [ pkgs.pkg-config ]; } ''
    mkdir -p $out/bin
    $CC ${examples}/hello.c -o $out/bin/hello $(pkg-config --cflags --libs afork-glib-1.0)
    $CC ${examples}/pool.c -o $out/bin/pool $(pkg-config --cflags --libs afork-1.0)
    test "$(env -i $out/bin/hello)" = aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d
    compare env -i $out/bin/pool
  '';

  consumer-vala =
    consumer "consumer-vala"
      {
        nativeBuildInputs = [
          pkgs.pkg-config
          pkgs.vala
        ];
      }
      ''
        valac --quiet --pkg=afork-glib-1.0 ${examples}/pool.vala -o pool
        compare ./pool
        mv pool $out
      '';

  consumer-typelib =
    consumer "consumer-typelib"
      {
        nativeBuildInputs = [
          pkgs.gjs
          pkgs.gobject-introspection
          (pkgs.python3.withPackages (modules: [ modules.pygobject3 ]))
        ];
      }
      ''
        export PYTHONPATH=${afork}/${pkgs.python3.sitePackages}
        compare python3 ${examples}/pool.py
        compare gjs ${examples}/pool.js
        cp sums $out
      '';

  workers-with-modules = runCommand "afork-workers-with-modules" { } ''
    with="env -i AFORK_PERL=${lib.getExe worker} ${afork}/bin/afork-run --jobs=1"
    without="env -i ${afork}/bin/afork-run"
    fails() { # with this text, COMMAND...
      if "''${@:2}" < line 2> errors; then exit 1; fi
      cat errors
      grep -F "$1" errors
    }
    echo nix > line

    test "$($with -MGreeting Greeting::greet < line)" = 'hello, nix'
    fails "Can't locate Greeting.pm" $without -MGreeting Greeting::greet
    fails 'Perl API version v5.8.0 of Version does not match' $with -MVersion -e 1
    fails 'require Size: something called exit()' $with -MSize -e 1

    # One perl; and the environment is the host's, but for what a shell in front of it leaves.
    code='join "\n", map "$_=$ENV{$_}", grep !/^(_|PWD|SHLVL)$/, keys %ENV'
    test "$($with -e "$code" < line)" = AFORK_PERL=${lib.getExe worker}
    test "$(${lib.getExe worker} -MConfig -e 'print $Config{archlibexp}')" = \
      "$(${lib.getExe perl} -MConfig -e 'print $Config{archlibexp}')"
    touch $out
  '';

  thumbnails = runCommand "afork-three-thumbnails" { } ''
    mkdir pictures
    cp ${../../doc/images}/viewer-{grid,picture,reason}.png pictures
    export XDG_CACHE_HOME=$PWD/cache
    env -i XDG_CACHE_HOME=$PWD/cache ${lib.getExe' afork "afork-thumbnails"} pictures
    test "$(ls cache/thumbnails/*/*.png | wc -l)" = 3
    # The modules are those of the store.
    ${afork}/libexec/afork/afork-perl -MGlib::Object::Introspection \
      -e 'exit index $INC{"Glib/Object/Introspection.pm"}, "${builtins.storeDir}/"'
    touch $out
  '';
}
