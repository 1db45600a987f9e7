# SPDX-License-Identifier: MIT
#
# The host's perl, and packages of modules for it.
{ lib, final }:

let
  libPrefix = "lib/perl5/site_perl";

  # Modules of the host, by their names in perl's directory for packages with parts in C.
  hostModules =
    name: apt: files:
    final.perlPackages.toPerlModule (
      final.runCommand "perl-${name}-host"
        {
          inherit apt files;
          nativeBuildInputs = [ final.perl ];
        }
        ''
          eval "$(perl -V:version -V:archname -V:vendorarch)"
          lib=$out/${libPrefix}/$version/$archname
          for file in $files; do
            [ -e "$vendorarch/$file" ] || { echo "stub: the host has no $file: apt-get install $apt" >&2; exit 1; }
            mkdir -p "$(dirname "$lib/$file")"
            ln -s "$vendorarch/$file" "$lib/$file"
          done
        ''
    );
in
rec {
  perl = final.hostPackages.perl // {
    inherit libPrefix;
    pkgs = final.perlPackages;
    # Its perl finds modules by PERL5LIB.
    withPackages =
      f:
      final.runCommand "${final.perl.name}-env"
        {
          nativeBuildInputs = [ final.makeWrapper ];
          modules = lib.filter (module: module ? perlModule) (lib.closePropagation (f final.perlPackages));
          meta.mainProgram = "perl";
        }
        ''
          mkdir -p $out/bin $out/${libPrefix}
          for module in $modules; do
            cp -rs --no-preserve=mode "$module/${libPrefix}/." $out/${libPrefix}/
          done
          for program in ${final.perl}/bin/*; do
            makeWrapper "$program" "$out/bin/$(basename $program)" --suffix PERL5LIB : "$out/${libPrefix}"
          done
        '';
  };

  perlPackages = {
    GlibObjectIntrospection = hostModules "Glib-Object-Introspection" "libglib-object-introspection-perl" [
      "Glib.pm"
      "Glib"
      "auto/Glib"
    ];

    toPerlModule =
      package:
      package.overrideAttrs (old: {
        passthru = (old.passthru or { }) // {
          perlModule = final.perl;
        };
      });

    buildPerlPackage =
      arguments:
      perlPackages.toPerlModule (
        final.stdenv.mkDerivation (
          {
            # The second has the man pages made of documentation; there has to be some.
            outputs = [
              "out"
              "devdoc"
            ];
            strictDeps = true;
            doCheck = true;
            checkTarget = "test";
            configurePhase = ''
              runHook preConfigure
              eval "$(perl -V:version -V:archname)"
              lib=$out/${libPrefix}/$version
              perl Makefile.PL INSTALLDIRS=site INSTALLSITELIB=$lib INSTALLSITEARCH=$lib/$archname \
                INSTALLSITEMAN1DIR=$out/share/man/man1 INSTALLSITEMAN3DIR=$out/share/man/man3 \
                INSTALLSITEBIN=$out/bin INSTALLSITESCRIPT=$out/bin NO_PERLLOCAL=1 NO_PACKLIST=1
              runHook postConfigure
            '';
          }
          // arguments
          // {
            name = "perl${final.perl.version}-${arguments.pname}-${arguments.version}";
            nativeBuildInputs = (arguments.nativeBuildInputs or [ ]) ++ [ final.perl ];
            buildInputs = (arguments.buildInputs or [ ]) ++ [ final.perl ];
          }
        )
      );
  };
}
