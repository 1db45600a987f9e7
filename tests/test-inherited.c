/* SPDX-License-Identifier: MIT
 *
 * What a process has from the one it was copied from does not end with it (src/perl/inherited.c).
 * Each case is two pieces of Perl code, before and after; this program runs them by executing
 * itself.
 */
#define PERL_CORE 1
#include <glib.h>
#undef _

#include "inherited.h"

EXTERN_C void boot_DynaLoader(pTHX_ CV *cv);

struct inherited_case {
    const char *path, *before, *after, *output;
};

static const struct inherited_case cases[] = {
    {"/inherited/end-blocks", "END { print 'old ' } END { print 'older ' }",
     "eval q(END { print 'new ' }); print 'run '", "run new "},
    {"/inherited/end-block-added-at-the-end", "END { print 'old ' }",
     "eval q(END { eval q(END { print 'last ' }) ; print 'new ' })", "new last "},
    {"/inherited/end-block-that-exits", "END { print 'old ' }",
     "eval q(END { print 'second ' } END { print 'first '; exit 3 })", "first second "},
    {"/inherited/destructors",
     "sub O::DESTROY { print \"$_[0]{n} \" } our $a = bless {n => 'old'}, 'O'",
     "our $b = bless {n => 'new'}, 'O'", "new "},
    {"/inherited/lexicals",
     "sub O::DESTROY { print \"$_[0]{n} \" } my $a = bless {n => 'old'}, 'O';"
     "sub keep { $a }",
     "my $b = bless {n => 'new'}, 'O'; sub keep2 { $b } 1", "new "},
    {"/inherited/ended-by-hand",
     "sub O::DESTROY { print \"$_[0]{n} \" } our $a = bless {n => 'old'}, 'O'",
     "undef $a; print 'then '", "old then "},
    {"/inherited/address-used-again",
     "sub O::DESTROY { print \"$_[0]{n} \" } our @a = map { bless {n => 'old'}, 'Quiet' } 1 .. 50",
     "@a = (); our @b = map { bless {n => 'new'}, 'O' } 1 .. 3", "new new new "},
    {"/inherited/cycle",
     "sub O::DESTROY { print \"$_[0]{n} \" } our $a; $a = bless {n => 'old', me => \\$a}, 'O'",
     "my $b = bless {n => 'new'}, 'O'; $b->{me} = $b; print 'run '", "run new "},
    {"/inherited/closure", "sub O::DESTROY { print 'O ' }", "my $b; $b = bless sub { $b }, 'O'; 1",
     "O "},
    {"/inherited/new-uses-old",
     "our $log = bless {}, 'Log'; sub Log::DESTROY { print 'lost ' } sub Log::say { print \"$_[1] "
     "\" }",
     "sub O::DESTROY { $main::log->say('bye') } our $b = bless {}, 'O';"
     "eval q(END { $log->say('end') })",
     "end bye "},
    {"/inherited/autoload",
     "package A; our $AUTOLOAD; sub AUTOLOAD { print \"$AUTOLOAD \" } our $a = bless {}",
     "our $b = bless {}, 'A'", "A::DESTROY "},
    {"/inherited/destructor-that-dies", "sub O::DESTROY { print 'dying '; die 'x' }",
     "our $a = bless {}, 'O'; close STDERR; 1", "dying "},
    {"/inherited/several-kinds",
     "sub O::DESTROY { print ref($_[0]), ' ' } our @a = map { bless $_, 'O' } [], {}, sub { 1 }, "
     "\\my $x, qr/x/",
     "sub N::DESTROY { print 'N' } our @b = map { bless $_, 'N' } [], {}, \\my $y, sub { @b }",
     "NNNN"},
    {"/inherited/old-pipe",
     "pipe my $r, my $w; our $p = $w; $SIG{PIPE} = 'IGNORE';"
     "our $old; open $old, '|-', 'cat; printf told'",
     "print 'run'", "run|told"},
    {"/inherited/new-pipe", "1", "open our $p, '|-', 'cat'; print $p 'piped'", "piped"},
    {"/inherited/new-layer", "1",
     "open our $f, '>:encoding(UTF-16BE)', '/dev/fd/1'; print $f chr 0x6161", "aa"},
    {"/inherited/old-handle-made-a-pipe", "open our $p, '<', '/dev/null'",
     "open $p, '|-', 'cat'; print $p 'piped'", "piped"},
    {"/inherited/buffered-output", "print 'once '", "print 'more'", "once more"},
};

static void boot(pTHX)
{
    newXS("DynaLoader::boot_DynaLoader", boot_DynaLoader, __FILE__);
}

static void evaluate(pTHX_ const char *code)
{
    eval_pv(code, FALSE);
    if (SvTRUE(ERRSV))
        PerlIO_printf(PerlIO_stdout(), "failed: %s", SvPV_nolen(ERRSV));
}

/* What afork-perl does at the end. */
G_NORETURN static void end(pTHX)
{
    dJMPENV;
    int jumped;

    afork__inherited_disarm(aTHX);
    JMPENV_PUSH(jumped);
    PERL_UNUSED_VAR(jumped);
    if (PL_endav)
        call_list(PL_scopestack_ix, PL_endav);
    JMPENV_POP;
    afork__inherited_finish(aTHX);
    PerlIO_puts(PerlIO_stdout(), "|"); /* what comes behind it was not waited for */
    PerlIO_flush(NULL);
    _exit(0);
}

static int run_child(int argc, char **argv, char **env)
{
    char name[] = "perl", dash_e[] = "-e";
    char *arguments[] = {name, dash_e, argv[2], NULL};

    PERL_SYS_INIT3(&argc, &argv, &env);
    PerlInterpreter *my_perl = perl_alloc();
    perl_construct(my_perl);
    PL_exit_flags |= PERL_EXIT_DESTRUCT_END;
    if (perl_parse(my_perl, boot, 3, arguments, NULL) || perl_run(my_perl))
        return 1;
    g_assert_false(afork__inherited_noted());
    afork__inherited_note(aTHX);
    afork__inherited_note(aTHX);
    g_assert_true(afork__inherited_noted());
    evaluate(aTHX_ argv[3]);
    end(aTHX);
}

static char *self;

static void run_case(gconstpointer data)
{
    const struct inherited_case *c = data;
    const char *argv[] = {self, "--code", c->before, c->after, NULL};
    g_autofree char *output = NULL;
    int status;

    g_assert_true(
        g_spawn_sync(NULL, (char **)argv, NULL, 0, NULL, NULL, &output, NULL, &status, NULL));
    g_assert_cmpint(status, ==, 0);
    g_autofree char *expected = g_strdup_printf(strchr(c->output, '|') ? "%s" : "%s|", c->output);
    g_assert_cmpstr(output, ==, expected);
}

int main(int argc, char **argv, char **env)
{
    if (argc == 4 && !strcmp(argv[1], "--code"))
        return run_child(argc, argv, env);
    self = argv[0];
    g_test_init(&argc, &argv, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++)
        g_test_add_data_func(cases[i].path, &cases[i], run_case);
    return g_test_run();
}
