# SPDX-License-Identifier: MIT

# AFORK_PERL_LINK_TEST(LIBS, IF-WORKS, IF-NOT)
# Links an interpreter with LIBS and lets it load an XS module, which fails if libperl's symbols are
# not exported. It must be $PERL's own libperl, not that of another perl in the linker's path.
AC_DEFUN([AFORK_PERL_LINK_TEST], [
cat >conftest-perl.pl <<'_END'
use Config; use POSIX ();
exit !($Config{archlibexp} eq $ENV{AFORK_ARCHLIB} && POSIX::floor (7.9) == 7);
_END
afork_saved_CFLAGS=$CFLAGS afork_saved_LDFLAGS=$LDFLAGS afork_saved_LIBS=$LIBS
CFLAGS="$CFLAGS $PERL_CFLAGS" LDFLAGS="$LDFLAGS $PERL_LDFLAGS" LIBS="$1 $LIBS"
AFORK_ARCHLIB=$perl_archlib
export AFORK_ARCHLIB
AC_RUN_IFELSE([AC_LANG_SOURCE([[
#include <EXTERN.h>
#include <perl.h>
#include <XSUB.h>

EXTERN_C void boot_DynaLoader(pTHX_ CV *cv);

static void load_extensions(pTHX)
{
    newXS("DynaLoader::boot_DynaLoader", boot_DynaLoader, __FILE__);
}

int main(int argc, char **argv, char **env)
{
    static char name[] = "perl", script[] = "conftest-perl.pl";
    char *arguments[] = {name, script, NULL};
    PERL_SYS_INIT3(&argc, &argv, &env);
    PerlInterpreter *my_perl = perl_alloc();
    perl_construct(my_perl);
    PL_exit_flags |= PERL_EXIT_DESTRUCT_END;
    if (!perl_parse(my_perl, load_extensions, 2, arguments, NULL))
        perl_run(my_perl);
    int status = perl_destruct(my_perl);
    perl_free(my_perl);
    PERL_SYS_TERM();
    return status;
}
]])], [$2], [$3], m4_default([$3], [:]))
rm -f conftest-perl.pl
AS_UNSET([AFORK_ARCHLIB])
CFLAGS=$afork_saved_CFLAGS LDFLAGS=$afork_saved_LDFLAGS LIBS=$afork_saved_LIBS
])

# AFORK_PERL_STATIC_LIBS
# Sets perl_static_libs to the flags with the archive in place of -lperl, or to nothing where there
# is no archive.
AC_DEFUN([AFORK_PERL_STATIC_LIBS], [
perl_static_libs=
for afork_archive in "$perl_archlib/CORE/libperl.a" "`$CC -print-file-name=libperl.a 2>/dev/null`"
do
    AS_IF([test -z "$perl_static_libs" && test -f "$afork_archive"],
          [perl_static_libs=`AS_ECHO([" $perl_shared_libs "]) | $SED "s| -lperl | $afork_archive |"`])
done
])

# AFORK_CHECK_PACKED_RELOCATIONS
# Adds to PERL_LDFLAGS what makes the thousands of relocations of a static libperl cheap, if linker
# and libc know it.
AC_DEFUN([AFORK_CHECK_PACKED_RELOCATIONS], [
afork_saved_LDFLAGS=$LDFLAGS
LDFLAGS="$LDFLAGS -Wl,-z,pack-relative-relocs -Wl,--fatal-warnings"
AC_MSG_CHECKING([whether relocations can be packed])
AC_RUN_IFELSE([AC_LANG_PROGRAM()],
    [AC_MSG_RESULT([yes])
     PERL_LDFLAGS="$PERL_LDFLAGS -Wl,-z,pack-relative-relocs"],
    [AC_MSG_RESULT([no])],
    [AC_MSG_RESULT([unknown])])
LDFLAGS=$afork_saved_LDFLAGS
])

# AFORK_PERL_STATIC_XS
# Sets PERL_STATIC_XS to the modules of --with-static-xs, and adds their archives to PERL_LIBS.
AC_DEFUN([AFORK_PERL_STATIC_XS], [
AC_ARG_WITH([static-xs],
            [AS_HELP_STRING([--with-static-xs=LIST],
                            [XS modules to be linked into afork-perl and libafork-perl-embed.a, as
                             "POSIX Socket"; each needs its archive, auto/POSIX/POSIX.a, in @INC])],
            [], [with_static_xs=])
AS_CASE([$with_static_xs], [yes|no], [with_static_xs=])
PERL_STATIC_XS=
AS_IF([test -n "$with_static_xs"], [
    AC_MSG_CHECKING([for archives of static XS modules])
    afork_xs_archives=`$PERL -e 'for my $module (@ARGV) {
        my ($last) = $module =~ /(\w+)$/;
        (my $path = "auto/$module/$last.a") =~ s{::}{/}g;
        my ($found) = grep -e, map "$_/$path", @INC;
        $found or die "$path is not in \@INC\n";
        print " $found" }' $with_static_xs 2>conftest.err` ||
        { afork_xs_error=`cat conftest.err`; AC_MSG_ERROR([$afork_xs_error]); }
    AC_MSG_RESULT([$afork_xs_archives])
    PERL_STATIC_XS="DynaLoader $with_static_xs"
    PERL_LIBS="$afork_xs_archives $PERL_LIBS"
])
AC_SUBST([PERL_STATIC_XS])
])

# AFORK_PERL_LIBS
# Looks for a libperl that works: have_perl, perl_link, PERL_LIBS.
AC_DEFUN([AFORK_PERL_LIBS], [
AFORK_PERL_STATIC_LIBS
AS_IF([test "$with_perl_link" != shared && test -n "$perl_static_libs"], [
    AC_MSG_CHECKING([whether a program with libperl.a works])
    AFORK_PERL_LINK_TEST([$perl_static_libs],
        [have_perl=yes perl_link=static PERL_LIBS=$perl_static_libs])
    AC_MSG_RESULT([$have_perl])
])
AS_IF([test "$with_perl_link:$have_perl" != static:no && test $have_perl = no], [
    AC_MSG_CHECKING([whether a program with the shared libperl works])
    AFORK_PERL_LINK_TEST([$perl_shared_libs],
        [have_perl=yes perl_link=shared PERL_LIBS=$perl_shared_libs])
    AC_MSG_RESULT([$have_perl])
])
])

# AFORK_CHECK_PERL
# Sets PERL_CFLAGS, PERL_LDFLAGS and PERL_LIBS for a program with an interpreter, perl_link (static
# or shared), and have_perl. PERL_SHARED_LIBS is what other programs that embed perl use.
AC_DEFUN([AFORK_CHECK_PERL], [
AC_ARG_WITH([perl-link],
            [AS_HELP_STRING([--with-perl-link=static|shared|auto],
                            [libperl in afork-perl; auto: static where libperl.a works])],
            [], [with_perl_link=auto])
AS_CASE([$with_perl_link], [static|shared|auto], [],
        [AC_MSG_ERROR([--with-perl-link takes static, shared or auto])])

perl_archlib=`$PERL -MConfig -e 'print $Config{archlibexp}' 2>/dev/null`
# Not -I: warnings about perl's headers are not ours to mend.
PERL_CFLAGS=`$PERL -MExtUtils::Embed -e ccopts 2>/dev/null |
    $SED "s|-I *$perl_archlib/CORE|-isystem $perl_archlib/CORE|"`
# Symbols are resolved at once: a process pays for a lazy one after every fork.
PERL_LDFLAGS="-Wl,-E -Wl,-z,now"
AFORK_CHECK_PACKED_RELOCATIONS
# Not -L for what perl's own packages do not use: it would be told to users by pkg-config.
perl_shared_libs=`$PERL -MExtUtils::Embed -e ldopts 2>/dev/null | $SED 's|-L */usr/local/lib||'`

AS_IF([test "`$PERL -MConfig -e 'print $Config{usemultiplicity} // "no"' 2>/dev/null`" = no],
      [AC_MSG_WARN([$PERL was built without MULTIPLICITY, which afork-perl needs (-Dusethreads or -Dusemultiplicity)])],
      [AFORK_PERL_LIBS])
AFORK_PERL_STATIC_XS
AC_SUBST([PERL_CFLAGS])
AC_SUBST([PERL_LDFLAGS])
AC_SUBST([PERL_LIBS])
AC_SUBST([PERL_SHARED_LIBS], [$perl_shared_libs])
])
