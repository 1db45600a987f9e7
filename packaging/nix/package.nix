# SPDX-License-Identifier: MIT
{
  lib,
  stdenv,
  autoreconfHook,
  buildPackages,
  gdk-pixbuf,
  gi-docgen,
  gjs,
  glib,
  gobject-introspection,
  gtk4,
  json-glib,
  libev,
  libseccomp,
  libuv,
  libxcrypt,
  lowdown,
  makeBinaryWrapper,
  mandoc,
  perl,
  pkg-config,
  python3,
  runCommand,
  shared-mime-info,
  testers,
  vala,
  wrapGAppsHook4,
  withGlib ? true,
  withGtk ? false,
  # What is described is looked at by a program that runs.
  withIntrospection ?
    withGlib
    && lib.meta.availableOn stdenv.hostPlatform gobject-introspection
    && stdenv.hostPlatform.emulatorAvailable buildPackages,
  withDocs ? withIntrospection,
  withLibev ? true,
  withLibuv ? true,
  # configure runs a program with libperl inside.
  withPerl ? stdenv.buildPlatform.canExecute stdenv.hostPlatform,
}:

assert lib.assertMsg (withIntrospection -> withGlib) "afork: withIntrospection needs withGlib";
assert lib.assertMsg (withDocs -> withIntrospection) "afork: withDocs needs withIntrospection";
assert lib.assertMsg (withGtk -> withGlib && withPerl) "afork: withGtk needs withGlib and withPerl";

let
  root = ../..;
  withThumbnails = withGlib && withPerl;

  # makeWrapper's arguments for an afork-perl that finds packages: modules of Perl, and typelibs of
  # the others. Arguments, not PERL5LIB: what workers execute may be another perl.
  findPackages =
    packages:
    let
      isModule = package: package ? perlModule;
      foreign = lib.filter (package: isModule package && package.perlModule != perl) packages;
      typelibs = lib.filter (package: !isModule package) packages;
      modules = perl.withPackages (_: lib.filter isModule packages);
    in
    assert lib.assertMsg (foreign == [ ]) ''
      afork: ${(lib.head foreign).name} is a module of ${(lib.head foreign).perlModule.name}, and afork-perl is ${perl.name}:
      take modules from the argument of withPerlPackages, or from afork.perl.pkgs'';
    ''--add-flags "-I ${modules}/${perl.libPrefix}"''
    + lib.optionalString (typelibs != [ ]) (
      " --prefix GI_TYPELIB_PATH : ${
        lib.makeSearchPathOutput "lib" "lib/girepository-1.0" (typelibs ++ [ glib ])
      }"
    );
in
stdenv.mkDerivation (finalAttrs: {
  pname = "afork";
  version = builtins.head (
    builtins.match ".*\nAC_INIT\\(\\[afork], \\[([0-9.]+)]\\).*" (
      builtins.readFile (root + "/configure.ac")
    )
  );

  # By name, without what a build leaves there: what else lies in a checkout makes no difference.
  src = lib.fileset.toSource {
    inherit root;
    fileset = lib.fileset.difference (lib.fileset.unions (
      map (name: root + "/${name}") [
        "CONTRIBUTING.md"
        "COPYING"
        "Makefile.am"
        "NEWS"
        "README.md"
        "autogen.sh"
        "bootstrap"
        "configure.ac"
        "doc"
        "ev-adapter"
        "glib"
        "m4/afork.m4"
        "m4/perl.m4"
        "packaging"
        "src"
        "tests"
        "uv-adapter"
      ]
    )) (
      lib.fileset.unions [
        ../nix
        (root + "/tests/nix")
        (lib.fileset.fileFilter (
          file: lib.any file.hasExt [ "a" "deps" "gir" "la" "lo" "log" "o" "trs" "typelib" "vapi" ]
        ) root)
      ]
    );
  };

  outputs = [
    "out"
    "dev"
  ]
  ++ lib.optional withDocs "doc";

  strictDeps = true;
  enableParallelBuilding = true;

  nativeBuildInputs = [
    autoreconfHook
    perl
    pkg-config
  ]
  ++ lib.optionals withIntrospection [
    gobject-introspection
    vala
  ]
  ++ lib.optionals withDocs [
    gi-docgen
    lowdown
    mandoc
  ]
  ++ lib.optional withThumbnails makeBinaryWrapper
  ++ lib.optional withGtk wrapGAppsHook4;

  buildInputs =
    lib.optional withPerl libseccomp
    ++ lib.optional withThumbnails gdk-pixbuf
    ++ lib.optional withGtk gtk4;

  # What .pc files require, or have among their Libs, and what headers include.
  propagatedBuildInputs =
    lib.optionals withGlib [
      glib
      json-glib
    ]
    ++ lib.optional withLibev libev
    ++ lib.optional withLibuv libuv
    ++ lib.optional withPerl perl; # libperl

  configureFlags = [
    (lib.withFeature withGlib "glib")
    (lib.withFeature withGtk "gtk")
    (lib.withFeature false "gedit")
    (lib.withFeature withLibev "libev")
    (lib.withFeature withLibuv "libuv")
    (lib.withFeature withPerl "perl")
    (lib.withFeature withPerl "seccomp")
    (lib.enableFeature withIntrospection "introspection")
    (lib.enableFeature withIntrospection "vala")
    (lib.enableFeature withDocs "docs")
    "--with-perl-link=shared"
  ]
  ++
    lib.optional withIntrospection
      "--with-python-overrides=${placeholder "out"}/${python3.sitePackages}/gi/overrides";

  # What is loaded when it is needed has to be found without a search.
  postPatch = ''
    patchShebangs --build .
    substituteInPlace src/perl/filter.c \
      --replace-fail '"libseccomp.so.2"' '"${lib.getLib libseccomp}/lib/libseccomp.so.2"'
    substituteInPlace src/perl/crypt.c \
      --replace-fail '"libcrypt.so.2"' '"${lib.getLib libxcrypt}/lib/libcrypt.so.2"'
  '';

  nativeCheckInputs = lib.optionals withIntrospection [
    gjs
    (python3.withPackages (modules: [ modules.pygobject3 ]))
  ];
  # The framework of the tests.
  checkInputs = lib.optional (!withGlib) glib;
  checkTarget = "check-quick";
  checkFlags = [
    "CFLAGS=-O0" # of the tests: what they test has been compiled
  ]
  # The others are those of a package without it.
  ++ lib.optional withGtk "QUICK_TESTS=tests/test-viewer-program.sh";
  doCheck = stdenv.buildPlatform.canExecute stdenv.hostPlatform;
  enableParallelChecking = true;

  # A typelib names its library by the path where that will be.
  preCheck = lib.optionalString withThumbnails ''
    export XDG_DATA_DIRS=${shared-mime-info}/share:$XDG_DATA_DIRS
  ''
  + lib.optionalString withIntrospection ''
    mkdir -p "$out/lib"
    ln -s "$PWD"/.libs/libafork*.so.0 "$out/lib/"
  '';
  postCheck = lib.optionalString withIntrospection ''
    rm -r "$out/lib"
  '';

  postInstall = lib.optionalString withIntrospection ''
    moveToOutput share/vala "$dev"
  '';

  # Workers that make thumbnails need modules, and their host must not: so afork-perl is as it was built,
  # and these programs execute one that finds them.
  dontWrapGApps = true;
  postFixup = lib.optionalString withThumbnails ''
    makeWrapper "$out/bin/afork-perl" "$out/libexec/afork/afork-perl" \
      ${
        findPackages [
          perl.pkgs.GlibObjectIntrospection
          gdk-pixbuf
        ]
      }
    arguments=(
      --set-default AFORK_PERL "$out/libexec/afork/afork-perl"
      --prefix XDG_DATA_DIRS : ${shared-mime-info}/share # types of files
    )
    wrapProgram "$out/bin/afork-thumbnails" "''${arguments[@]}"
    ${lib.optionalString withGtk ''
      wrapGApp "$out/bin/afork-viewer" "''${arguments[@]}"
    ''}
  '';

  doInstallCheck = finalAttrs.doCheck && withPerl;
  installCheckPhase = ''
    runHook preInstallCheck
    test "$(echo 2.5 | env -i "$out/bin/afork-run" -MPOSIX -e 'POSIX::floor($_)')" = 2
    runHook postInstallCheck
  '';

  passthru = {
    inherit perl;

    # An afork-perl whose workers find these packages, modules of this perl and libraries with a typelib:
    #   afork.withPerlPackages (modules: [ modules.GlibObjectIntrospection gdk-pixbuf ])
    # A context has it as the option `perl`, or AFORK_PERL names it.
    withPerlPackages =
      packages:
      runCommand "afork-perl-${finalAttrs.version}"
        {
          nativeBuildInputs = [ makeBinaryWrapper ];
          passthru = { inherit perl; };
          meta = {
            description = "afork-perl with modules";
            mainProgram = "afork-perl";
            inherit (finalAttrs.meta) homepage license platforms;
          };
        }
        ''
          makeWrapper ${finalAttrs.finalPackage}/bin/afork-perl "$out/bin/afork-perl" \
            ${findPackages (packages perl.pkgs)}
        '';

    tests = {
      pkg-config = testers.hasPkgConfigModules {
        package = finalAttrs.finalPackage;
        versionCheck = true;
      };
      # For a machine that has time.
      all = finalAttrs.finalPackage.overrideAttrs {
        checkTarget = "check";
        checkFlags = [ "TEST_SECONDS=600" ];
      };
    };
  };

  meta = {
    description = "Perl worker processes for programs built around an event loop";
    homepage = "https://example.org/afork";
    license = lib.licenses.mit;
    maintainers = [ ];
    mainProgram = if withGtk then "afork-viewer" else "afork-run";
    pkgConfigModules = [
      "afork-1.0"
    ]
    ++ lib.optional withGlib "afork-glib-1.0"
    ++ lib.optional withLibev "afork-ev-1.0"
    ++ lib.optional withLibuv "afork-uv-1.0"
    ++ lib.optionals withPerl [
      "afork-perl-1.0"
      "afork-perl-embed-1.0"
    ];
    platforms = lib.platforms.linux;
  };
})
