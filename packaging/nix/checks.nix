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

  # Without what the packages all have, and with all tests, which are few there.
  core =
    (afork.override {
      withGlib = false;
      withLibev = false;
      withLibuv = false;
      withPerl = false;
    }).tests.all;

  worker = afork.withPerlPackages (_: [
    greeting
    size
    version
  ]);
in
{
  inherit (afork.tests) pkg-config;
  pkg-config-minimal = pkgs.afork-minimal.tests.pkg-config;
  pkg-config-core = core.tests.pkg-config;

  # They link what pkg-config tells, all of which has to come with afork.
  consumer-c = pkgs.stdenv.mkDerivation {
    name = "afork-consumer-c";
    src = examples;
    strictDeps = true;
    nativeBuildInputs = [
      perl
      pkgs.pkg-config
    ];
    buildInputs = [ afork ];
    buildPhase = ''
      compile() { # NAME MODULE FLAG...
        $CC $1.c -o $1 $(pkg-config --cflags --libs "$2") "''${@:3}"
      }
      compile hello afork-glib-1.0
      compile pool afork-1.0
      compile prefork-server afork-ev-1.0
      compile lines afork-uv-1.0
      compile static-perl afork-perl-embed-1.0 $(perl -MExtUtils::Embed -e ccopts)
    '';
    installPhase = ''
      install -D -t $out/bin hello pool prefork-server lines static-perl
    '';
    doInstallCheck = true;
    installCheckPhase = compare + ''
      test "$(env -i $out/bin/hello)" = aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d
      compare env -i $out/bin/pool
      test "$(echo b a | env -i $out/bin/lines)" = 'a b'
      test "$(env -i $out/bin/static-perl)" = 42
      env -i $out/bin/prefork-server 0 1 > address &
      until port=$(grep -o '[0-9]*$' address); do
        kill -0 $!
      done
      exec 3<> /dev/tcp/127.0.0.1/$port
      printf 'GET / HTTP/1.0\r\n' >&3
      grep -x 'worker [0-9]* of generation [0-9]*' <&3
      kill $!
      wait $!
    '';
  };

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
    grep -F 'loadable library and perl binaries are mismatched' errors

    # The same where the template of a program in C is started.
    mkdir -p lib/AFork
    echo 'package AFork::Thumbnail; require Size; 1;' > lib/AFork/Thumbnail.pm
    fails 'something called exit()' env -i AFORK_PERL=${lib.getExe worker} AFORK_THUMBNAILS_LIB=$PWD/lib \
      XDG_CACHE_HOME=$PWD/cache ${afork}/bin/afork-thumbnails --verbose ${../../doc/images}/viewer-grid.png
    grep -F 'loadable library and perl binaries are mismatched' errors

    # One perl; and the environment is the host's, but for what a shell in front of it leaves.
    code='join "\n", map "$_=$ENV{$_}", grep !/^(_|PWD|SHLVL)$/, keys %ENV'
    test "$($with -e "$code" < line)" = AFORK_PERL=${lib.getExe worker}
    test "$(${lib.getExe worker} -MConfig -e 'print $Config{archlibexp}')" = \
      "$(${lib.getExe perl} -MConfig -e 'print $Config{archlibexp}')"
    touch $out
  '';

  thumbnails = runCommand "afork-three-thumbnails" { } ''
    thumbnails() { # DIRECTORY VARIABLE...: into a cache there
      env -i XDG_CACHE_HOME=$PWD/$1 "''${@:2}" ${lib.getExe' afork "afork-thumbnails"} pictures
    }
    mkdir pictures
    cp ${../../doc/images}/viewer-{grid,picture,reason}.png pictures
    thumbnails cache
    test "$(ls cache/thumbnails/*/*.png | wc -l)" = 3

    # The modules are those of the store, and in the environment there is nothing about them.
    mkdir -p lib/AFork
    cat > lib/AFork/Thumbnail.pm <<'END'
    my %before;
    BEGIN { %before = %ENV }
    do "${afork}/share/afork/perl/AFork/Thumbnail.pm" or die $@;
    for (qw(Glib.pm Glib/Object/Introspection.pm)) {
        $INC{$_} =~ m{^${builtins.storeDir}/} or die "$_ is $INC{$_}\n";
    }
    for (keys %ENV) {
        $ENV{$_} eq ($before{$_} // "") && !/PERL|TYPELIB/ or die "$_=$ENV{$_}\n";
    }
    1;
    END
    thumbnails another AFORK_THUMBNAILS_LIB=$PWD/lib
    touch $out
  '';
}
