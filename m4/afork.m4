# SPDX-License-Identifier: MIT

# AFORK_WITH(NAME, WHAT, CHECK)
# The option --with-NAME. CHECK sets have_NAME to yes or no, and is run unless the answer is no. An
# explicit yes that cannot be met is an error. Afterwards with_NAME is yes or no, and the
# conditional ENABLE_NAME says the same.
AC_DEFUN([AFORK_WITH], [
AC_ARG_WITH([$1], [AS_HELP_STRING([--with-$1=yes|no|auto], [$2; auto is the default])],
            [], [with_$1=auto])
AS_CASE([$with_$1], [yes|no|auto], [], [AC_MSG_ERROR([--with-$1 takes yes, no or auto])])
have_$1=no
AS_IF([test "$with_$1" != no], [$3])
AS_IF([test "$with_$1:$have_$1" = yes:no],
      [AC_MSG_ERROR([--with-$1 was given, but what it needs was not found (see config.log)])])
with_$1=$have_$1
AM_CONDITIONAL([ENABLE_]m4_toupper([$1]), [test "$with_$1" = yes])
])

# AFORK_ENABLE(NAME, WHAT, CHECK)
# The same for --enable-NAME, which is about something that only the build makes.
AC_DEFUN([AFORK_ENABLE], [
AC_ARG_ENABLE([$1], [AS_HELP_STRING([--enable-$1=yes|no|auto], [$2; auto is the default])],
              [], [enable_$1=auto])
AS_CASE([$enable_$1], [yes|no|auto], [], [AC_MSG_ERROR([--enable-$1 takes yes, no or auto])])
have_$1=no
AS_IF([test "$enable_$1" != no], [$3])
AS_IF([test "$enable_$1:$have_$1" = yes:no],
      [AC_MSG_ERROR([--enable-$1 was given, but what it needs was not found (see config.log)])])
enable_$1=$have_$1
AM_CONDITIONAL([ENABLE_]m4_toupper([$1]), [test "$enable_$1" = yes])
])

# AFORK_HAVE(NAME, MODULES)
# Looks for something that only a tool, a test or a benchmark uses: NAME_CFLAGS, NAME_LIBS, the
# variable have_NAME and the conditional HAVE_NAME.
AC_DEFUN([AFORK_HAVE], [
PKG_CHECK_MODULES([$1], [$2], [have_$1=yes], [have_$1=no])
AM_CONDITIONAL([HAVE_$1], [test $have_$1 = yes])
])

# AFORK_HAVE_PROGRAM(NAME, PROGRAM)
# The same for a program: NAME is its path, and there is the conditional HAVE_NAME.
AC_DEFUN([AFORK_HAVE_PROGRAM], [
AC_PATH_PROG([$1], [$2])
AM_CONDITIONAL([HAVE_$1], [test -n "$$1"])
])

# AFORK_HAVE_PYTHON_GI
# A Python that knows typelibs; there may be others in front of it.
AC_DEFUN([AFORK_HAVE_PYTHON_GI], [
AC_CACHE_CHECK([for a Python with gi], [ac_cv_path_PYTHON_GI], [
    AC_PATH_PROGS_FEATURE_CHECK([PYTHON_GI], [python3],
        [AS_IF(["$ac_path_PYTHON_GI" -c 'import gi' 2>/dev/null],
               [ac_cv_path_PYTHON_GI=$ac_path_PYTHON_GI ac_path_PYTHON_GI_found=:])],
        [ac_cv_path_PYTHON_GI=])
])
AC_SUBST([PYTHON_GI], [$ac_cv_path_PYTHON_GI])
AM_CONDITIONAL([HAVE_PYTHON_GI], [test -n "$PYTHON_GI"])
])

# AFORK_PYTHON_OVERRIDES
# The directory PYTHON_OVERRIDES_DIR for what Python adds to the typelib: where that Python looks, if
# that is in the prefix. Otherwise PYTHONPATH has to name the directory that holds gi/.
AC_DEFUN([AFORK_PYTHON_OVERRIDES], [
AC_ARG_WITH([python-overrides],
            [AS_HELP_STRING([--with-python-overrides=DIR|no],
                            [where PyGObject finds Afork.py; by default in the prefix])],
            [], [with_python_overrides=auto])
AS_CASE([$with_python_overrides],
        [yes|auto], [PYTHON_OVERRIDES_DIR=],
        [no], [PYTHON_OVERRIDES_DIR=no],
        [PYTHON_OVERRIDES_DIR=$with_python_overrides])
AS_IF([test -z "$PYTHON_OVERRIDES_DIR" && test -n "$PYTHON_GI"],
      [afork_prefix=$prefix
       test "$afork_prefix" != NONE || afork_prefix=$ac_default_prefix
       PYTHON_OVERRIDES_DIR=`"$PYTHON_GI" - "$afork_prefix" <<'EOF'
import sys, gi
prefix, own = sys.argv@<:@1@:>@, gi.__path__@<:@0@:>@ + "/overrides"
if prefix != sys.base_prefix:
    found = @<:@path for path in sys.path if path.startswith(prefix + "/")@:>@
    own = found@<:@0@:>@ + "/gi/overrides" if found else own.replace(sys.base_prefix, prefix, 1)
print(own.replace(prefix, "${prefix}", 1))
EOF`])
AS_IF([test "$with_python_overrides" = yes && test -z "$PYTHON_OVERRIDES_DIR"],
      [AC_MSG_ERROR([--with-python-overrides needs a Python with gi, or a directory])])
AS_IF([test "$enable_introspection" != yes || test -z "$PYTHON_OVERRIDES_DIR"],
      [PYTHON_OVERRIDES_DIR=no])
AC_SUBST([PYTHON_OVERRIDES_DIR])
AM_CONDITIONAL([ENABLE_PYTHON_OVERRIDES], [test "$PYTHON_OVERRIDES_DIR" != no])
])

# AFORK_TRY_CFLAGS(FLAG...)
# Appends to WARN_CFLAGS each flag that the compiler knows.
AC_DEFUN([AFORK_TRY_CFLAGS], [
for afork_flag in m4_normalize([$1])
do
    AC_MSG_CHECKING([whether $CC knows $afork_flag])
    afork_saved_CFLAGS=$CFLAGS
    CFLAGS="-Werror $afork_flag $CFLAGS"
    AC_COMPILE_IFELSE([AC_LANG_PROGRAM],
                      [AC_MSG_RESULT([yes]); WARN_CFLAGS="$WARN_CFLAGS $afork_flag"],
                      [AC_MSG_RESULT([no])])
    CFLAGS=$afork_saved_CFLAGS
done
])

# AFORK_WARNINGS
# WARN_CFLAGS for all C of the tree, and the stricter WARN_CONVERSION_CFLAGS for code that computes
# with sizes from a peer.
AC_DEFUN([AFORK_WARNINGS], [
AC_ARG_ENABLE([werror], [AS_HELP_STRING([--enable-werror], [make warnings errors])],
              [], [enable_werror=no])
AFORK_TRY_CFLAGS([-Wall -Wextra -Wshadow -Wundef -Wvla -Wformat=2 -Wpointer-arith -Wwrite-strings
                  -Wstrict-prototypes -Wmissing-prototypes -Wlogical-op
                  -Wno-unused-parameter -Wno-missing-field-initializers])
AS_IF([test "$enable_werror" != no], [WARN_CFLAGS="$WARN_CFLAGS -Werror"])
AC_SUBST([WARN_CFLAGS])
AC_SUBST([WARN_CONVERSION_CFLAGS], [-Wconversion])
])

# AFORK_SANITIZERS
# The flags stay out of CFLAGS, so that the link test of libperl, which leaks by intent, is not
# judged by them.
AC_DEFUN([AFORK_SANITIZERS], [
AC_ARG_ENABLE([sanitizers],
              [AS_HELP_STRING([--enable-sanitizers],
                              [build with the address and undefined behaviour sanitizers])],
              [], [enable_sanitizers=no])
sanitizers= SANITIZER_CFLAGS=
AS_IF([test "$enable_sanitizers" != no], [
    sanitizers=address,undefined
    SANITIZER_CFLAGS="-fsanitize=$sanitizers -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
])
AC_SUBST([SANITIZER_CFLAGS])
AM_CONDITIONAL([ENABLE_SANITIZERS], [test -n "$sanitizers"])
])

# AFORK_VERSION_SCRIPT
AC_DEFUN([AFORK_VERSION_SCRIPT], [
AC_MSG_CHECKING([whether the linker takes a version script])
AS_ECHO(["{ global: main; local: *; };"]) >conftest.map
afork_saved_LDFLAGS=$LDFLAGS
LDFLAGS="$LDFLAGS -Wl,--version-script=conftest.map"
AC_LINK_IFELSE([AC_LANG_PROGRAM], [have_version_script=yes], [have_version_script=no])
LDFLAGS=$afork_saved_LDFLAGS
rm -f conftest.map
AC_MSG_RESULT([$have_version_script])
AM_CONDITIONAL([HAVE_VERSION_SCRIPT], [test $have_version_script = yes])
])

# AFORK_CHECK_GLIB
AC_DEFUN([AFORK_CHECK_GLIB], [
PKG_CHECK_MODULES([GLIB], [glib-2.0 >= 2.64 gobject-2.0 gio-unix-2.0],
                  [have_glib=yes], [have_glib=no])
PKG_CHECK_MODULES([JSON_GLIB], [json-glib-1.0], [], [have_glib=no])
PKG_CHECK_VAR([GLIB_MKENUMS], [glib-2.0], [glib_mkenums], [], [have_glib=no])
PKG_CHECK_VAR([GLIB_COMPILE_RESOURCES], [gio-2.0], [glib_compile_resources], [], [have_glib=no])
])

# AFORK_CHECK_INTROSPECTION
# Without the macro that comes with it, which not every tree that makes a configure has.
AC_DEFUN([AFORK_CHECK_INTROSPECTION], [
PKG_CHECK_EXISTS([gobject-introspection-1.0 >= 1.60], [have_introspection=$with_glib])
PKG_CHECK_VAR([INTROSPECTION_SCANNER], [gobject-introspection-1.0], [g_ir_scanner])
PKG_CHECK_VAR([INTROSPECTION_COMPILER], [gobject-introspection-1.0], [g_ir_compiler])
PKG_CHECK_VAR([INTROSPECTION_DATADIR], [gobject-introspection-1.0], [datadir])
AC_SUBST([INTROSPECTION_MAKEFILE],
         [$INTROSPECTION_DATADIR/gobject-introspection-1.0/Makefile.introspection])
])

# AFORK_CHECK_VALA
AC_DEFUN([AFORK_CHECK_VALA], [
AC_PATH_PROG([VAPIGEN], [vapigen])
AS_IF([test -n "$VAPIGEN"], [have_vala=$enable_introspection])
])

# AFORK_DOCS
AC_DEFUN([AFORK_DOCS], [
AC_ARG_ENABLE([docs],
              [AS_HELP_STRING([--enable-docs],
                              [make and install the documentation as pages of HTML (gi-docgen, lowdown,
                               mandoc)])],
              [], [enable_docs=no])
AC_PATH_PROG([GI_DOCGEN], [gi-docgen])
AC_PATH_PROG([LOWDOWN], [lowdown])
AC_PATH_PROG([MANDOC], [mandoc])
AS_IF([test "$enable_docs" != no],
      [AS_IF([test "$enable_introspection" != yes || test -z "$GI_DOCGEN" || test -z "$LOWDOWN" ||
              test -z "$MANDOC"],
             [AC_MSG_ERROR([--enable-docs needs the introspection, gi-docgen, lowdown and mandoc])])])
AM_CONDITIONAL([ENABLE_DOCS], [test "$enable_docs" != no])
])

# AFORK_CHECK_LIBUV
AC_DEFUN([AFORK_CHECK_LIBUV], [
PKG_CHECK_MODULES([LIBUV], [libuv >= 1.18], [have_libuv=yes], [have_libuv=no])
])

# AFORK_CHECK_LIBEV
# libev has no pkg-config file. 4.33 is the first with ev_io_modify().
AC_DEFUN([AFORK_CHECK_LIBEV], [
AC_CHECK_DECL([ev_io_modify],
              [AC_CHECK_LIB([ev], [ev_loop_new], [have_libev=yes LIBEV_LIBS=-lev])],
              [], [[#include <ev.h>]])
AC_SUBST([LIBEV_CFLAGS])
AC_SUBST([LIBEV_LIBS])
])
