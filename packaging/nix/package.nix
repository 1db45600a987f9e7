# SPDX-License-Identifier: MIT
{
  lib,
  stdenv,
  appstream,
  autoreconfHook,
  buildPackages,
  dbus,
  dejavu_fonts,
  desktop-file-utils,
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
  makeFontsConf,
  mandoc,
  perl,
  pkg-config,
  python3,
  runCommand,
  shared-mime-info,
  testers,
  vala,
  wrapGAppsHook4,
  xdotool,
  xvfb-run,
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

  sources = map (name: root + "/${name}") [
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
  ];
  # What a build leaves among them, by its ending.
  made = [
    "a"
    "deps"
    "gir"
    "la"
    "lo"
    "log"
    "o"
    "trs"
    "typelib"
    "vapi"
  ];

  # Where a perl finds these modules, and introspection these libraries.
  modulePath = modules: "${perl.withPackages (_: modules)}/${perl.libPrefix}";
  typelibPath =
    libraries: lib.makeSearchPathOutput "lib" "lib/girepository-1.0" (libraries ++ [ glib ]);

  # makeWrapper's arguments for an afork-perl that finds packages: modules of Perl, and typelibs of
  # the others. Arguments, not PERL5LIB: what workers execute may be another perl.
  findPackages =
    packages:
    let
      isModule = package: package ? perlModule;
      foreign = lib.filter (package: isModule package && package.perlModule != perl) packages;
      libraries = lib.filter (package: !isModule package) packages;
    in
    assert lib.assertMsg (foreign == [ ]) ''
      afork: ${(lib.head foreign).name} is a module of ${(lib.head foreign).perlModule.name}, and afork-perl is ${perl.name}:
      take modules from the argument of withPerlPackages, or from afork.perl.pkgs'';
    ''--add-flags "-I ${modulePath (lib.filter isModule packages)}"''
    + lib.optionalString (
      libraries != [ ]
    ) " --prefix GI_TYPELIB_PATH : ${typelibPath libraries}";
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
    fileset = lib.fileset.difference (lib.fileset.unions sources) (
      lib.fileset.unions [
        ../nix
        (root + "/tests/nix")
        (lib.fileset.fileFilter (file: lib.any file.hasExt made) root)
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

  # What is loaded when it is needed has to be found without a search: libraries by afork-perl, and what
  # decodes pictures by the module for thumbnails. The environment would tell the host of it, too, and all
  # that workers execute.
  postPatch = ''
    patchShebangs --build .
  ''
  + lib.optionalString withPerl ''
    substituteInPlace src/perl/filter.c \
      --replace-fail '"libseccomp.so.2"' '"${lib.getLib libseccomp}/lib/libseccomp.so.2"'
    substituteInPlace src/perl/crypt.c \
      --replace-fail '"libcrypt.so.2"' '"${lib.getLib libxcrypt}/lib/libcrypt.so.2"'
  ''
  + lib.optionalString withThumbnails ''
    substituteInPlace glib/tools/perl/AFork/Thumbnail.pm \
      --replace-fail 'require Glib::Object::Introspection;' \
        'local $ENV{GI_TYPELIB_PATH} = "${typelibPath [ gdk-pixbuf ]}";
        require lib;
        lib->import("${modulePath [ perl.pkgs.GlibObjectIntrospection ]}");
        require Glib::Object::Introspection;'
  '';

  nativeCheckInputs =
    lib.optionals withIntrospection [
      gjs
      (python3.withPackages (modules: [ modules.pygobject3 ]))
    ]
    ++ lib.optionals withGtk [
      appstream
      dbus
      desktop-file-utils
      glib # gdbus
      xdotool
      xvfb-run
    ];
  # The framework of the tests.
  checkInputs = lib.optional (!withGlib) glib;
  checkTarget = "check-quick";
  checkFlags = [
    "VERBOSE=y"
    "CFLAGS=-O0" # of the tests: what they test has been compiled
  ]
  # The others are those of a package without it.
  ++ lib.optional withGtk "QUICK_TESTS=tests/test-viewer-program.sh";
  doCheck = stdenv.buildPlatform.canExecute stdenv.hostPlatform;
  enableParallelChecking = true;

  # A typelib names its library by the path where that will be.
  preCheck =
    lib.optionalString withThumbnails ''
      export XDG_DATA_DIRS=${shared-mime-info}/share:$XDG_DATA_DIRS
    ''
    + lib.optionalString withIntrospection ''
      mkdir -p "$out/lib"
      ln -s "$PWD"/.libs/libafork*.so.0 "$out/lib/"
    ''
    + lib.optionalString withGtk ''
      export FONTCONFIG_FILE=${makeFontsConf { fontDirectories = [ dejavu_fonts ]; }}
      substituteInPlace tests/test-viewer-program.sh --replace-fail 'on_screen dbus-run-session' \
        'on_screen dbus-run-session --config-file=${dbus}/share/dbus-1/session.conf'
    '';
  # What the quick tests take is there: none of them leaves itself out, and the viewer's no part.
  postCheck =
    lib.optionalString withIntrospection ''
      rm -r "$out/lib"
    ''
    + ''
      if [ "$checkTarget" = check-quick ]; then
        skipped=$(grep -rl --include='*.trs' '^:global-test-result: SKIP' tests || true)
        ${lib.optionalString withGtk "skipped+=$(grep '# SKIP' tests/test-viewer-program.log || true)"}
        [ -z "$skipped" ] || { echo "not tested: $skipped"; exit 1; }
      fi
    '';

  postInstall = lib.optionalString withIntrospection ''
    moveToOutput share/vala "$dev"
  '';

  dontWrapGApps = true; # only one is to be
  postFixup = lib.optionalString withThumbnails ''
    mime=(--prefix XDG_DATA_DIRS : ${shared-mime-info}/share) # types of files
    wrapProgram "$out/bin/afork-thumbnails" "''${mime[@]}"
    ${lib.optionalString withGtk ''
      wrapGApp "$out/bin/afork-viewer" "''${mime[@]}"
    ''}
  '';

  doInstallCheck = finalAttrs.doCheck && withPerl;
  installCheckPhase = ''
    runHook preInstallCheck
    test "$(echo 2.5 | env -i "$out/bin/afork-run" -MPOSIX -e 'POSIX::floor($_)')" = 2
    for program in "$out"/bin/afork-*; do
      [ "$program" = "$out/bin/afork-perl" ] || env -i "$program" --version | grep -F ${finalAttrs.version}
    done
    runHook postInstallCheck
  '';

  passthru = {
    tests = {
      pkg-config = testers.hasPkgConfigModules {
        package = finalAttrs.finalPackage;
        versionCheck = true;
      };
      # For a machine that has time.
      all = finalAttrs.finalPackage.overrideAttrs {
        checkTarget = "check";
        checkFlags = [
          "VERBOSE=y"
          "CFLAGS=-O0"
          "TEST_SECONDS=600"
        ];
      };
    };
  }
  // lib.optionalAttrs withPerl {
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
  };

  meta = {
    description =
      if withGtk then
        "Viewer of pictures that Perl worker processes decode"
      else
        "Perl worker processes for programs built around an event loop"
        + lib.optionalString (!withGlib) ", without GLib";
    longDescription = ''
      afork starts Perl interpreters beside a program, and calls their functions without waiting: in pools, with
      limits, and without threads or Perl in the program itself. ${
        if withGtk then
          ''
            This is the library with its example: afork-viewer, a program in GTK 4 that shows the pictures of a
            folder, and whose workers decode them.''
        else if withGlib then
          ''
            This has the core for any event loop, GObjects for C, Vala, Python and JavaScript, and the programs
            afork-run and afork-thumbnails.''
        else
          "This has the core for any event loop, and afork-run."
      }
    '';
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
