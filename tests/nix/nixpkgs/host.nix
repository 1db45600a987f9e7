# SPDX-License-Identifier: MIT
#
# Packages that are symbolic links to what is installed on the host.
{
  lib,
  system,
  final,
}:

let
  # The colon matters: bash would execute a last program, coreutils close their output before they end, and
  # Nix kills a builder that has closed its output.
  hostDerivation =
    arguments:
    derivation (
      {
        inherit system;
        builder = "/bin/bash";
        args = [
          "-ec"
          "PATH=/usr/bin:/bin; ${arguments.script}\n:"
        ];
      }
      // arguments
    );

  # Strings of words become packages.
  host =
    pname:
    {
      apt ? pname, # the Debian packages that have it
      version ? "0.host",
      bins ? "", # programs; the first is the main one
      modules ? "", # of pkg-config; what they require comes along
      m4 ? "", # patterns of files with macros
      girs ? "",
      typelibs ? girs,
      sonames ? "", # patterns of libraries
      shares ? "", # directories
      propagated ? [ ],
      optional ? false, # for people: left out if the host has no such thing
      modulesOfTools ? false, # the modules are found also if it is a native input
      wrapped ? { }, # scripts in the place of programs, which are their @real@
      setupHook ? "",
      passthru ? { },
    }@arguments:
    let
      drv = hostDerivation (
        builtins.removeAttrs arguments [ "passthru" ]
        // {
          name = "${pname}-host";
          inherit apt pname typelibs;
          propagated = map (package: "${package}") propagated;
          wrapped = lib.mapAttrsToList (name: script: "${name} ${script}") wrapped;
          script = "source ${./host.sh}";
        }
      );
    in
    {
      type = "derivation";
      name = "${pname}-${version}";
      inherit pname sonames system version;
      inherit (drv) drvPath outPath;
      outputs = [ "out" ];
      outputName = "out";
      propagatedBuildInputs = propagated;
      meta = {
        mainProgram = lib.head (lib.words bins ++ [ pname ]);
        platforms = lib.platforms.all;
      };
    }
    // passthru;

  # For those who develop; no package is built with them.
  tools = lib.genAttrs [
    "gdb"
    "nixfmt"
    "nixfmt-tree"
    "shellcheck"
    "valgrind"
  ] (name: {
    bins = name;
    optional = true;
  });

  hostPackages = lib.mapAttrs host (
    tools
    // {
      appstream.bins = "appstreamcli";
      autoconf-archive.m4 = "ax_*.m4";
      autoreconfHook = {
        apt = "autoconf automake libtool gettext m4";
        bins = "aclocal autoconf autoheader autom4te automake autoreconf libtoolize m4";
        m4 = "libtool.m4 lt*.m4";
        setupHook = ./autoreconf-hook.sh;
      };
      bashInteractive.bins = "bash"; # of `nix develop`
      clang-tools = {
        apt = "clang-format clang-tidy";
        bins = "clang-format clang-tidy";
        optional = true;
      };
      coreutils.bins = "cp dirname ln ls mkdir mktemp mv realpath rm";
      dbus = {
        apt = "dbus-daemon";
        bins = "dbus-daemon dbus-run-session";
        shares = "share/dbus-1";
      };
      dejavu_fonts = {
        apt = "fonts-dejavu-core";
        shares = "share/fonts/truetype/dejavu";
      };
      desktop-file-utils.bins = "desktop-file-validate";
      gdk-pixbuf = {
        apt = "libgdk-pixbuf-2.0-dev gir1.2-gdkpixbuf-2.0";
        modules = "gdk-pixbuf-2.0";
        typelibs = "GdkPixbuf-2.0";
        sonames = "libgdk_pixbuf-2.0.so.*";
        propagated = [ hostPackages.glib ];
      };
      gi-docgen.bins = "gi-docgen";
      gjs.bins = "gjs";
      glib = {
        apt = "libglib2.0-dev libglib2.0-bin libgirepository1.0-dev";
        bins = "gdbus gio glib-compile-resources glib-genmarshal glib-mkenums";
        modules = "gio-2.0 gio-unix-2.0 glib-2.0 gmodule-2.0 gobject-2.0";
        m4 = "glib-2.0.m4";
        girs = "GLib-2.0 GModule-2.0 GObject-2.0 Gio-2.0";
        sonames = "libgio-2.0.so.* libglib-2.0.so.* libgmodule-2.0.so.* libgobject-2.0.so.*";
      };
      gobject-introspection = {
        apt = "gobject-introspection libgirepository1.0-dev";
        bins = "g-ir-compiler g-ir-scanner";
        modules = "gobject-introspection-1.0";
        m4 = "introspection.m4";
        modulesOfTools = true;
        wrapped.g-ir-scanner = ./g-ir-scanner.sh;
        setupHook = ./gobject-introspection-hook.sh;
      };
      gtk4 = {
        apt = "libgtk-4-dev";
        modules = "gtk4";
        sonames = "libcairo*.so.* libgraphene-1.0.so.* libgtk-4.so.* libharfbuzz.so.* libpango*-1.0.so.*";
        propagated = [ hostPackages.gdk-pixbuf ];
      };
      json-glib = {
        apt = "libjson-glib-dev";
        modules = "json-glib-1.0";
        sonames = "libjson-glib-1.0.so.*";
        propagated = [ hostPackages.glib ];
      };
      libev = {
        apt = "libev-dev";
        sonames = "libev.so.*";
      };
      libseccomp = {
        apt = "libseccomp-dev";
        modules = "libseccomp";
        sonames = "libseccomp.so.*";
      };
      libuv = {
        apt = "libuv1-dev";
        modules = "libuv";
        sonames = "libuv.so.*";
      };
      libxcrypt = {
        apt = "libcrypt-dev";
        modules = "libcrypt";
        sonames = "libcrypt.so.*";
      };
      lowdown.bins = "lowdown";
      makeWrapper.setupHook = ./make-wrapper.sh;
      mandoc.bins = "mandoc";
      perl = {
        apt = "perl libperl-dev";
        version = "5.36.0";
        bins = "perl xsubpp";
        sonames = "libperl.so.*";
        setupHook = ./perl-hook.sh;
        propagated = [ hostPackages.libxcrypt ];
      };
      pkg-config = {
        apt = "pkgconf";
        bins = "pkg-config";
        m4 = "pkg.m4";
      };
      # With what modules the host's has.
      python3 = {
        apt = "python3 python3-gi";
        bins = "python3";
        passthru = {
          sitePackages = "lib/python3.11/site-packages";
          withPackages = modules: builtins.seq (modules { pygobject3 = null; }) hostPackages.python3;
        };
      };
      shared-mime-info.shares = "share/mime";
      vala = {
        apt = "valac";
        bins = "valac vapigen";
        modules = "vapigen";
        m4 = "vala.m4 vapigen.m4";
        setupHook = ./vala-hook.sh;
      };
      xdotool.bins = "xdotool";
      xvfb-run = {
        apt = "xvfb xauth";
        bins = "xvfb-run Xvfb getopt mcookie xauth";
      };
      wrapGAppsHook4 = {
        setupHook = ./wrap-gapps-hook.sh;
        propagated = [ hostPackages.makeWrapper ];
      };
    }
  );
in
hostPackages
// {
  inherit hostDerivation hostPackages;
  makeBinaryWrapper = hostPackages.makeWrapper;
}
