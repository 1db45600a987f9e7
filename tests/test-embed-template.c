/* SPDX-License-Identifier: MIT
 *
 * A program with an interpreter of its own (template-fork.c): what its template has of it, what it
 * must not have, and that the program goes on as if nothing had been. The rest is in
 * test-perl-template and test-perl-own-template.
 */
#include <EXTERN.h>
#include <XSUB.h>
#include <perl.h>
#undef _

#include <afork/afork-perl.h>
#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test-perl-lib.h"
#include "util.h"

/* Perl's stdio is none. */
#undef signal
#undef strerror

static PerlInterpreter *interpreter(void)
{
    return PERL_GET_CONTEXT;
}

static IV evaluate(const char *code)
{
    PerlInterpreter *my_perl = interpreter();
    SV *value = eval_pv(code, FALSE);
    IV result = SvIV(value);

    if (SvTRUE(ERRSV))
        g_error("%s", SvPV_nolen(ERRSV));
    return result;
}

static struct afork_process *new_template(struct test *t)
{
    struct afork_process *process;

    test_ok(afork_process_new_launched(test_context(t), afork_perl_template_launch, interpreter(),
                                       &process));
    return process;
}

static off_t size_of(int fd)
{
    struct stat info;

    test_ok(fstat(fd, &info));
    return info.st_size;
}

static void has_what_is_loaded(struct test *t)
{
    evaluate("package Loaded; use POSIX (); our $data = 'data'; our $closure = do { my $x = 41; "
             "sub { ++$x } }; sub show { my $ch = shift; syswrite $ch, join ' ', $data, "
             "$closure->(), POSIX::floor(3.5), @_ } 1");
    struct afork_process *template = new_template(t);
    for (int i = 0; i < 3; i++) {
        struct afork_process *child = test_fork(template);
        test_ok(afork_process_send_arg(child, "arg", 3));
        g_autofree char *text = test_output(t, child, "Loaded::show");
        g_assert_cmpstr(text, ==, "data 42 3 arg");
    }
    afork_process_unref(template);
    g_assert_cmpint(evaluate("$Loaded::closure->()"), ==, 42);
}

/* Quick or not, what is the program's does not end; what is the template's does in a child that is
 * told to end as perl does. */
static void exit_modes(struct test *t)
{
    AFORK__AUTO_FD file = memfd_create("old", MFD_CLOEXEC), new = memfd_create("new", MFD_CLOEXEC);
    static const enum afork_exit_mode modes[][3] = {
        {AFORK_EXIT_QUICK},
        {AFORK_EXIT_PERL},
        {AFORK_EXIT_PERL, AFORK_EXIT_QUICK},
        {AFORK_EXIT_PERL, AFORK_EXIT_QUICK, AFORK_EXIT_PERL}};
    static const off_t sizes[] = {0, 2, 2, 4};
    static const size_t n_modes[] = {1, 1, 2, 3};
    g_autofree char *code = g_strdup_printf(
        "package Modes; open our $mark, '>>&=', %d or die; our $object = bless [];"
        "sub DESTROY { syswrite $mark, 'd' } eval q(END { syswrite $mark, 'e' }); 1",
        file);

    g_assert_cmpint(evaluate(code), ==, 1);
    struct afork_process *template = new_template(t);
    test_ok(afork_process_send_fd(template, new));
    test_ok(afork_process_eval(template,
                               "our $new = pop @arg; our $object = bless [];"
                               "sub DESTROY { syswrite $new, 'D' } END { syswrite $new, 'E' }"
                               "sub work { syswrite shift, 'working' }",
                               NULL));
    test_ok(afork_process_set_exit_mode(template, AFORK_EXIT_QUICK));
    for (size_t i = 0; i < G_N_ELEMENTS(modes); i++) {
        struct afork_process *child = test_fork(template);
        struct test_exit end = {0};

        test_ok(afork_process_on_exit(child, test_on_exit, &end));
        for (size_t j = 0; j < n_modes[i]; j++)
            test_ok(afork_process_set_exit_mode(child, modes[i][j]));
        g_free(test_output(t, child, "work"));
        test_wait(t, end.calls);
        g_assert_cmpint(size_of(new), ==, sizes[i]);
    }
    afork_process_unref(template);
    g_assert_cmpint(size_of(file), ==, 0);
    evaluate("undef $Modes::object; 1");
}

/* O13: by return, exit, die and end of file, nothing of the program's ends; what came later
 * does. */
static void nothing_inherited_ends(struct test *t)
{
    static const char *const ends[] = {"1", "exit 3", "die 'x'", "POSIX::_exit(0)", "CORE::exit"};
    AFORK__AUTO_FD file = memfd_create("old", MFD_CLOEXEC), new = memfd_create("new", MFD_CLOEXEC);
    g_autofree char *code = g_strdup_printf(
        "use File::Temp; use POSIX (); package Old; open our $mark, '>>&=', %d or die; "
        "our $dir = File::Temp->newdir; our $object = bless []; my $lexical = bless []; "
        "our $cycle = bless {}; $cycle->{self} = $cycle;"
        "sub DESTROY { syswrite $mark, 'd' } sub keep { $lexical } eval 'END { syswrite $mark, "
        "q(e) }';"
        "-d $dir",
        file);

    g_assert_cmpint(evaluate(code), ==, 1);
    t->options.standard_error.mode = AFORK_STDIO_NULL;
    struct afork_process *template = new_template(t);
    test_ok(afork_process_send_fd(template, new));
    test_ok(afork_process_eval(template,
                               "our $new = pop @arg; our $object = bless [];"
                               "sub DESTROY { syswrite $new, 'D' } END { syswrite $new, 'E' }"
                               "sub work { syswrite shift, 'working'; eval shift }",
                               NULL));
    for (size_t i = 0; i < G_N_ELEMENTS(ends); i++) {
        struct afork_process *child = test_fork(template);
        test_ok(afork_process_send_arg(child, ends[i], strlen(ends[i])));
        g_free(test_output(t, child, "work"));
    }
    struct test_exit end = {0};
    struct afork_process *idle = test_fork(template);
    test_ok(afork_process_on_exit(idle, test_on_exit, &end));
    afork_process_unref(idle); /* its end of file */
    test_wait(t, end.calls);
    end.calls = 0;
    test_ok(afork_process_on_exit(template, test_on_exit, &end));
    afork_process_unref(template);
    test_wait(t, end.calls);
    /* All but the one that _exit()s by itself: four workers, one that was idle, the template. */
    test_wait(t, size_of(new) == 2 * (4 + 2));
    g_assert_cmpint(size_of(file), ==, 0);
    g_assert_cmpint(evaluate("-d $Old::dir"), ==, 1);
    evaluate(
        "undef $Old::object; delete $Old::cycle->{self}; undef $Old::cycle; undef $Old::dir; 1");
    g_assert_cmpint(size_of(file), ==, 2);
}

/* O14: what the program has printed so far comes out once, and what workers print is not lost. */
static void output_is_printed_once(struct test *t)
{
    AFORK__AUTO_FD file = memfd_create("output", MFD_CLOEXEC);
    AFORK__AUTO_FD saved = dup(STDOUT_FILENO);
    char text[64] = "";

    fflush(stdout);
    test_ok(fcntl(file, F_SETFL, O_APPEND));
    g_assert_cmpint(dup2(file, STDOUT_FILENO), ==, STDOUT_FILENO);
    printf("once ");
    evaluate("print 'perl '");
    struct afork_process *template = new_template(t);
    for (int i = 0; i < 10; i++) {
        struct afork_process *child = test_fork(template);
        test_ok(afork_process_eval(child, "print 'w'; sub quiet { print 'W' }", NULL));
        g_free(test_output(t, child, "quiet"));
    }
    struct test_exit end = {0};
    test_ok(afork_process_on_exit(template, test_on_exit, &end));
    afork_process_unref(template);
    test_wait(t, end.calls);
    test_wait(t, size_of(file) == 10 + 20);
    fflush(stdout);
    evaluate("$|++; $| = 0; 1");
    g_assert_cmpint(dup2(saved, STDOUT_FILENO), ==, STDOUT_FILENO);
    g_assert_cmpint(pread(file, text, sizeof text, 0), ==, 30);
    g_assert_nonnull(strstr(text, "once "));
    g_assert_nonnull(strstr(text, "perl "));
}

/* O34: callbacks of the program, pending or run at exits, are not run by copies. */
static int counted, counted_pid;

static void count(void)
{
    counted++;
    g_assert_cmpint(getpid(), ==, counted_pid);
}

static void on_signal(int number)
{
    (void)number;
    _exit(99);
}

static gboolean on_timeout(gpointer data)
{
    count();
    return G_SOURCE_REMOVE;
}

static void count_at_exit(void)
{
    if (getpid() != counted_pid)
        _exit(98);
}

static XSPROTO(xs_count)
{
    dXSARGS;
    PERL_UNUSED_VAR(items);
    count();
    XSRETURN_EMPTY;
}

static void count_at_the_end(pTHX_ void *data)
{
    PERL_UNUSED_ARG(data);
    if (getpid() != counted_pid)
        _exit(97);
}

static void no_callback_in_a_copy(struct test *t)
{
    PerlInterpreter *my_perl = interpreter();
    struct test_exit ends[6] = {0};
    struct sigaction action = {.sa_handler = on_signal}, chld, usr1;

    counted_pid = getpid();
    atexit(count_at_exit);
    call_atexit(count_at_the_end, NULL);
    newXS("Counted::DESTROY", xs_count, __FILE__);
    evaluate("our $counted = bless [], 'Counted'; 1");
    sigaction(SIGCHLD, &action, &chld); /* replaced before any child can end */
    sigaction(SIGUSR1, &action, &usr1);
    raise(0);
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGCHLD);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    g_timeout_add(1, on_timeout, NULL);

    struct afork_process *template = new_template(t);
    test_ok(afork_process_eval(template,
                               "sub work { my $ch = shift; my $mask = POSIX::SigSet->new;"
                               "POSIX::sigprocmask(POSIX::SIG_BLOCK(), undef, $mask);"
                               "exit 96 if $mask->ismember(POSIX::SIGCHLD());"
                               "system 'true'; kill USR1 => $$; sleep 9 }",
                               NULL));
    for (int i = 0; i < 5; i++) {
        struct afork_process *child = test_fork(template);
        test_ok(afork_process_on_exit(child, test_on_exit, &ends[i]));
        test_ok(afork_process_run(child, i % 2 ? "CORE::exit" : "work", NULL, NULL));
        afork_process_unref(child);
    }
    test_ok(afork_process_on_exit(template, test_on_exit, &ends[5]));
    afork_process_unref(template);
    for (int i = 0; i < 6; i++) {
        test_wait(t, ends[i].calls);
        if (i < 5 && i % 2 == 0)
            g_assert_cmpint(ends[i].wait_status, ==, SIGUSR1);
        else
            g_assert_cmpint(ends[i].wait_status, ==, 0);
    }
    sigaction(SIGCHLD, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
    sigprocmask(SIG_UNBLOCK, &blocked, NULL);
    sigaction(SIGCHLD, &chld, NULL);
    sigaction(SIGUSR1, &usr1, NULL);
    while (!counted)
        g_main_context_iteration(NULL, TRUE);
    g_assert_cmpint(counted, ==, 1);
    evaluate("undef $counted; 1");
    g_assert_cmpint(counted, ==, 2);
}

/* %SIG stays: handlers, and what is ignored. */
static void signals_of_perl_stay(struct test *t)
{
    evaluate("$SIG{USR2} = sub { syswrite $main::channel, 'handled' }; $SIG{INT} = 'IGNORE'; 1");
    sigaction(SIGQUIT, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    struct afork_process *template = new_template(t);
    test_ok(afork_process_eval(template,
                               "sub work { our $channel = shift; kill INT => $$;"
                               "kill USR2 => $$; kill QUIT => $$; sleep 9 }",
                               NULL));
    struct afork_process *child = test_fork(template);
    struct test_exit end = {0};
    test_ok(afork_process_on_exit(child, test_on_exit, &end));
    g_autofree char *text = test_output(t, child, "work");
    g_assert_cmpstr(text, ==, "handled");
    test_wait(t, end.calls);
    g_assert_cmpint(end.wait_status & 0x7f, ==, SIGQUIT);
    afork_process_unref(template);
    sigaction(SIGQUIT, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
    evaluate("$SIG{USR2} = $SIG{INT} = 'DEFAULT'; 1");
}

/* Perl's handles stay open; the program's descriptors do not, but their numbers are taken. */
static void descriptors(struct test *t)
{
    int ends[2];
    struct pollfd hung = {0};

    test_ok(pipe2(ends, O_CLOEXEC));
    evaluate("our ($r, $w); pipe $r, $w; our $path = '/etc/passwd'; open our $in, '<', $path; "
             "our $first = <$in>; opendir our $folder, '/'; 1");
    struct afork_process *template = new_template(t);
    close(ends[1]);
    hung = (struct pollfd){.fd = ends[0], .events = POLLIN};
    g_free(test_output(t, test_perl_new(t), "list"));
    g_assert_cmpint(poll(&hung, 1, 20000), ==, 1); /* no copy holds it */
    test_ok(
        afork_process_eval(template,
                           "sub handles { my $ch = shift; syswrite $w, 'x'; sysread $r, my $x, 1;"
                           "syswrite $ch, join ' ', $x, scalar(() = readdir $folder) > 2,"
                           "scalar(<$in>) =~ /:/ }",
                           NULL));
    g_autofree char *text = test_output(t, template, "handles");
    g_assert_cmpstr(text, ==, "x 1 1");
    close(ends[0]);
    evaluate("close $_ for $r, $w, $in; closedir $folder; 1");
}

static struct test *current;
static int launch_error;

/* Called from Perl: makes a template there and then. */
static XSPROTO(xs_fork_here)
{
    dXSARGS;
    struct afork_process *process;
    PERL_UNUSED_VAR(items);
    launch_error = afork_process_new_launched(test_context(current), afork_perl_template_launch,
                                              NULL, &process);
    if (launch_error == 0)
        current->data = process;
    XSRETURN_IV(launch_error);
}

/* From anywhere in code that runs; not while code is compiled, nor at the end. */
static void where_it_is_possible(struct test *t)
{
    static const struct {
        const char *code;
        int error;
    } places[] = {
        {"sub f { my $guard = bless [], 'Guard'; local $_ = 'x'; for my $i (1 .. 3) { "
         "return fork_here() if $i == 2 } } f()",
         0},
        {"sub Guard::DESTROY { syswrite STDERR, 'guard' } eval { fork_here() }", 0},
        {"eval 'fork_here()'", 0},
        {"(sort { fork_here() if !$done++; $a <=> $b } 3, 1, 2)[0]", 0},
        {"map { fork_here() } 1", 0},
        {"eval 'BEGIN { $r = fork_here() } 1'; $r", -EBUSY},
        {"eval 'use constant R => fork_here(); 1'; R()", -EBUSY},
    };
    PerlInterpreter *my_perl = interpreter();

    current = t;
    t->options.standard_error.mode = AFORK_STDIO_TAIL;
    newXS("main::fork_here", xs_fork_here, __FILE__);
    for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
        struct test_exit ends[2] = {0};
        launch_error = 1;
        t->data = NULL;
        evaluate("our ($done, $r) = (0); 1");
        eval_pv(places[i].code, FALSE);
        g_assert_cmpint(launch_error, ==, places[i].error);
        if (launch_error)
            continue;
        struct afork_process *child = test_fork(t->data);
        test_ok(afork_process_on_exit(child, test_on_exit, &ends[0]));
        test_ok(afork_process_on_exit(t->data, test_on_exit, &ends[1]));
        test_ok(afork_process_eval(child, "eval 'sub g { die qq(by intent\\n) } 1' or die", NULL));
        g_free(test_output(t, child, "g"));
        test_wait(t, ends[0].calls);
        g_free(test_output(t, t->data, "CORE::exit"));
        test_wait(t, ends[1].calls);
        g_assert_cmpint(ends[0].status, ==, 255);
        g_assert_cmpstr(ends[0].stderr_tail, ==, "by intent\n");
        g_assert_cmpint(ends[1].status, ==, 0);
        g_assert_cmpstr(ends[1].stderr_tail, ==, "");
    }
    t->data = NULL;
}

static void no_interpreter(struct test *t)
{
    PerlInterpreter *my_perl = interpreter();
    struct afork_process *process;

    PERL_SET_CONTEXT(NULL);
    int result = afork_process_new_launched(test_context(t), afork_perl_template_launch, NULL,
                                            &process);
    PERL_SET_CONTEXT(my_perl);
    g_assert_cmpint(result, ==, -ENXIO);
    g_assert_cmpstr(afork_perl_error(), !=, "");
}

static char warned[256];

static void on_warning(struct afork_context *context, struct afork_process *process,
                       const char *message, void *data)
{
    g_strlcpy(warned, message, sizeof warned);
}

/* Once it has answered, the thread holds no lock that a forked child would wait for. */
static void *answer_until_end(void *data)
{
    const int *ends = data;
    char octet = 0;

    if (write(ends[1], &octet, 1) == 1)
        while (read(ends[1], &octet, 1) == 1)
            ;
    return NULL;
}

static void threads_of_the_program(struct test *t)
{
    pthread_t thread;
    struct afork_process *process;
    int ends[2];
    char octet;

    test_ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
    test_ok(pthread_create(&thread, NULL, answer_until_end, ends));
    g_assert_cmpint(read(ends[0], &octet, 1), ==, 1);
    t->options.on_warning = on_warning;
    process = new_template(t);
    test_wait(t, *warned);
    g_assert_nonnull(strstr(warned, "2 threads run in the program"));
    *warned = '\0';
    g_free(test_output(t, process, "CORE::exit"));
    g_assert_cmpstr(warned, ==, "");
    afork_context_close(t->context);
    t->context = NULL;
    t->options.threads = AFORK_THREADS_REFUSE;
    g_assert_cmpint(
        afork_process_new_launched(test_context(t), afork_perl_template_launch, NULL, &process), ==,
        -EDEADLK);
    close(ends[0]);
    test_ok(pthread_join(thread, NULL));
    close(ends[1]);
    g_free(test_output(t, new_template(t), "CORE::exit"));
}

/* O18 and O19: three templates between the program's own calls; it is as it was. */
static void program_is_as_it_was(struct test *t)
{
    const char *const locales[] = {"C", "C.UTF-8", "de_DE.UTF-8", "xx_YY.ISO-1"};
    struct sigaction before[NSIG] = {0}, after[NSIG] = {0};
    g_autofree char *lc_all = g_strdup(g_getenv("LC_ALL"));

    for (size_t i = 0; i < G_N_ELEMENTS(locales); i++) {
        g_setenv("LC_ALL", locales[i], TRUE);
        setlocale(LC_ALL, "");
        g_autofree char *locale = g_strdup(setlocale(LC_ALL, NULL));
        g_autofree char *codeset = g_strdup(nl_langinfo(CODESET));
        g_autofree char *number = g_strdup_printf("%.1f", 1.5);
        for (int n = 1; n < NSIG; n++)
            sigaction(n, NULL, &before[n]);
        evaluate("$ENV{AFORK_TEST_ONLY_HERE} = 'here'; our @before = (@INC, $0, @ARGV, $^X, "
                 "map { \"$_=$ENV{$_}\" } sort keys %ENV); srand 42; our $n = 0; 1");
        for (int j = 0; j < 3; j++) {
            struct afork_process *template = new_template(t);
            test_ok(afork_process_eval(template,
                                       "$ENV{X} = 1; $n = 100; push @INC, 'x'; $0 = 'y';"
                                       "require POSIX; POSIX::setlocale(POSIX::LC_ALL(), 'C')",
                                       NULL));
            g_free(test_output(t, test_fork(template), "CORE::exit"));
            struct test_exit end = {0};
            test_ok(afork_process_on_exit(template, test_on_exit, &end));
            afork_process_unref(template);
            test_wait(t, end.calls);
            g_assert_cmpint(end.status, ==, 0);
            g_assert_cmpint(evaluate("++$n"), ==, j + 1);
        }
        g_assert_cmpstr(setlocale(LC_ALL, NULL), ==, locale);
        g_assert_cmpstr(nl_langinfo(CODESET), ==, codeset);
        g_autofree char *number_after = g_strdup_printf("%.1f", 1.5);
        g_assert_cmpstr(number_after, ==, number);
        for (int n = 1; n < NSIG; n++) {
            sigaction(n, NULL, &after[n]);
            g_assert_true(before[n].sa_handler == after[n].sa_handler);
        }
        g_assert_cmpint(evaluate("my @after = (@INC, $0, @ARGV, $^X, map { \"$_=$ENV{$_}\" } sort "
                                 "keys %ENV); \"@before\" eq \"@after\" || 0"),
                        ==, 1);
        g_assert_cmpint(evaluate("my $r = int rand 1e6; srand 42; $r == int rand 1e6 || 0"), ==, 1);
    }
    if (lc_all)
        g_setenv("LC_ALL", lc_all, TRUE);
    else
        g_unsetenv("LC_ALL");
    setlocale(LC_ALL, "C");
}

/* Code that was compiled in the program forks in the template: its child is its own to reap. */
static void forks_of_the_programs_code(struct test *t)
{
    evaluate("sub fork_and_wait { my $pid = fork // die; CORE::exit 5 if !$pid; "
             "select undef, undef, undef, 0.1; waitpid($pid, 0) == $pid && $? >> 8 }"
             "sub keep_pipe { open our $pipe, '-|', 'exit 6;' or die; 1 } 1");
    struct afork_process *template = new_template(t);
    test_ok(afork_process_eval(template,
                               "our @got = fork_and_wait(); our $pid = fork // die;"
                               "CORE::exit 7 if !$pid; keep_pipe()",
                               NULL));
    g_free(test_output(t, test_fork(template), "CORE::exit")); /* time to reap too much */
    test_ok(afork_process_eval(template,
                               "push @got, waitpid($pid, 0) == $pid ? $? >> 8 : 'lost';"
                               "close our $pipe; push @got, $? >> 8;"
                               "sub got { syswrite shift, qq(@got) }",
                               NULL));
    g_autofree char *text = test_output(t, template, "got");
    g_assert_cmpstr(text, ==, "5 7 6");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_perl_add("/template/has-what-is-loaded", has_what_is_loaded);
    test_perl_add("/template/nothing-inherited-ends", nothing_inherited_ends);
    test_perl_add("/template/exit-modes", exit_modes);
    test_perl_add("/template/output-once", output_is_printed_once);
    test_perl_add("/template/no-callback-in-a-copy", no_callback_in_a_copy);
    test_perl_add("/template/signals-of-perl", signals_of_perl_stay);
    test_perl_add("/template/descriptors", descriptors);
    test_perl_add("/template/where-it-is-possible", where_it_is_possible);
    test_perl_add("/template/no-interpreter", no_interpreter);
    test_perl_add("/template/threads", threads_of_the_program);
    test_perl_add("/template/program-as-it-was", program_is_as_it_was);
    test_perl_add("/template/forks-of-its-code", forks_of_the_programs_code);
    return g_test_run();
}
