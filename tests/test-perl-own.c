/* SPDX-License-Identifier: MIT
 *
 * The library with afork-perl: what only our own server does. Errors with Perl's text, exits,
 * warnings, and that nothing outlives the host.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test-perl-lib.h"
#include "util.h"

/* A process that runs "list", and what its callbacks were told. */
struct subject {
    struct test_run run;
    struct test_exit end;
};

static void run_to_its_end(struct test *t, struct afork_process *process, const char *function,
                           struct subject *s)
{
    *s = (struct subject){0};
    test_ok(afork_process_on_exit(process, test_on_exit, &s->end));
    test_ok(afork_process_run(process, function, test_on_run, &s->run));
    test_wait(t, s->end.calls);
    g_assert_cmpuint(s->run.calls, ==, 1);
    if (s->run.fd >= 0)
        close(s->run.fd);
    afork_process_unref(process);
}

struct failure {
    const char *code, *module, *function;
    int error;
    enum afork_cause cause;
    const char *message;
};

static void failures_have_perls_text(struct test *t)
{
    static const struct failure failures[] = {
        {"die 'it hurts'", NULL, "list", -ENOEXEC, AFORK_CAUSE_EVAL, "it hurts at (eval"},
        {"die \"with newline\\n\"", NULL, "list", -ENOEXEC, AFORK_CAUSE_EVAL, "with newline"},
        {"\n\ndie", NULL, "list", -ENOEXEC, AFORK_CAUSE_EVAL, "line 3."},
        {"1 +* 2 }", NULL, "list", -ENOEXEC, AFORK_CAUSE_EVAL, "syntax error"},
        {"package E; use overload '\"\"' => sub { 'an object' }; die bless {}", NULL, "list",
         -ENOEXEC, AFORK_CAUSE_EVAL, "an object"},
        {"die \"\\x{20ac}\"", NULL, "list", -ENOEXEC, AFORK_CAUSE_EVAL, "\xe2\x82\xac"},
        {"die 'x' x 1e6", NULL, "list", -ENOEXEC, AFORK_CAUSE_EVAL, "xxxx"},
        {NULL, "Missing::Module", "list", -ENOEXEC, AFORK_CAUSE_REQUIRE,
         "Can't locate Missing/Module.pm in @INC"},
        {NULL, NULL, "nope", -ENOEXEC, AFORK_CAUSE_FUNCTION, "nope"},
        {NULL, NULL, "No::Such::thing", -ENOEXEC, AFORK_CAUSE_FUNCTION, "No::Such::thing"},
        {"exit 3", NULL, "list", -ECONNRESET, AFORK_CAUSE_EXITED, "status 3"},
        {"kill KILL => $$", NULL, "list", -ECONNRESET, AFORK_CAUSE_SIGNALLED, "signal 9"},
    };
    t->options.standard_error.mode = AFORK_STDIO_NULL; /* where it is told as well */
    struct afork_process *template = test_perl_new(t);
    for (size_t i = 0; i < G_N_ELEMENTS(failures); i++) {
        const struct failure *f = &failures[i];
        struct afork_process *process = i % 2 ? test_fork(template) : test_new_exec(t);
        struct subject s;

        if (f->code)
            test_ok(afork_process_eval(process, f->code, NULL));
        if (f->module)
            test_ok(afork_process_require(process, f->module, NULL));
        run_to_its_end(t, process, f->function, &s);
        g_test_message("%.100s", s.run.message);
        g_assert_cmpint(s.run.fd, ==, f->error);
        g_assert_cmpint(s.run.cause, ==, f->cause);
        g_assert_cmpint(s.end.cause, ==, f->cause);
        g_assert_nonnull(strstr(s.run.message, f->message));
        g_assert_nonnull(strstr(s.end.message, f->message));
        g_assert_cmpint(s.end.wait_status, !=, 0);
        g_assert_cmpint(s.end.wait_status, !=, -1);
    }
    afork_process_unref(template);
}

/* Once it was entered, how the function ends is an exit. */
static void ends_of_a_function(struct test *t)
{
    static const struct {
        const char *code;
        enum afork_cause cause;
        int status;
    } functions[] = {
        {"sub f { }", AFORK_CAUSE_EXITED, 0},
        {"sub f { 5 }", AFORK_CAUSE_EXITED, 0},
        {"sub f { die 'worker' }", AFORK_CAUSE_EXITED, 255},
        {"sub f { $! = 7; die 'worker' }", AFORK_CAUSE_EXITED, 7},
        {"sub f { exit 42 }", AFORK_CAUSE_EXITED, 42},
        {"sub f { CORE::exit 43 }", AFORK_CAUSE_EXITED, 43},
        {"sub f { require POSIX; POSIX::_exit(44) }", AFORK_CAUSE_EXITED, 44},
        {"sub f { kill USR1 => $$; sleep 60 }", AFORK_CAUSE_SIGNALLED, SIGUSR1},
        {"sub f { exit 1 } END { $? = 45 }", AFORK_CAUSE_EXITED, 45},
        {"sub AUTOLOAD { our $AUTOLOAD; exit($AUTOLOAD eq 'main::f' ? 46 : 47) }",
         AFORK_CAUSE_EXITED, 46},
    };

    t->options.standard_error.mode = AFORK_STDIO_NULL;
    for (size_t i = 0; i < G_N_ELEMENTS(functions); i++) {
        for (int way = 0; way < 2; way++) {
            struct afork_process *process = way ? test_new_exec(t) : test_new(t);
            struct subject s;

            test_ok(afork_process_eval(process, functions[i].code, NULL));
            run_to_its_end(t, process, "f", &s);
            g_test_message("%s: %s", functions[i].code, s.end.message);
            g_assert_cmpint(s.run.fd, >=, 0);
            g_assert_cmpint(s.end.cause, ==, functions[i].cause);
            g_assert_cmpint(s.end.status, ==, functions[i].status);
            g_assert_true(s.end.has_usage);
        }
    }
}

/* Functions of the core are functions as well. */
static void core_functions_can_be_run(struct test *t)
{
    struct subject s;

    run_to_its_end(t, test_new(t), "CORE::exit", &s);
    g_assert_cmpint(s.run.fd, >=, 0);
    g_assert_cmpint(s.end.cause, ==, AFORK_CAUSE_EXITED);
}

static void failed_template_tells_all_below(struct test *t)
{
    struct subject subjects[3];

    t->options.standard_error.mode = AFORK_STDIO_NULL;
    struct afork_process *template = test_new(t);
    memset(subjects, 0, sizeof subjects);
    test_ok(afork_process_eval(template, "die 'rotten'", NULL));
    for (size_t i = 0; i < G_N_ELEMENTS(subjects); i++) {
        struct afork_process *process = test_fork(template);
        test_ok(afork_process_on_exit(process, test_on_exit, &subjects[i].end));
        test_ok(afork_process_run(process, "f", test_on_run, &subjects[i].run));
        afork_process_unref(process);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(subjects); i++) {
        test_wait(t, subjects[i].end.calls);
        g_assert_cmpint(subjects[i].run.cause, ==, AFORK_CAUSE_EVAL);
        g_assert_nonnull(strstr(subjects[i].run.message, "rotten"));
    }
    afork_process_unref(template);
}

static void exits_survive_the_template(struct test *t)
{
    struct afork_process *template = test_perl_new(t), *worker = test_fork(template);
    struct test_exit end = {0};

    test_ok(afork_process_on_exit(worker, test_on_exit, &end));
    int fd = test_run_function(t, worker, "echo");
    test_ok(afork_process_kill(template, SIGKILL));
    test_wait(t, afork_process_peer_pid(template) == 0);
    test_ok(afork_process_kill(worker, SIGUSR2));
    test_wait(t, end.calls);
    g_assert_cmpint(end.cause, ==, AFORK_CAUSE_SIGNALLED);
    g_assert_cmpint(end.status, ==, SIGUSR2);
    close(fd);
    afork_process_unref(template);
    afork_process_unref(worker);
}

struct warnings {
    unsigned calls;
    char message[1000];
};

static void on_warning(struct afork_context *context, struct afork_process *process,
                       const char *message, void *data)
{
    struct warnings *warnings = data;

    warnings->calls++;
    g_strlcpy(warnings->message, message, sizeof warnings->message);
}

static struct warnings warnings;

/* A server with a thread of its own, which sleeps and holds no lock that a forked child would wait
 * for; NULL where this perl has none.
 */
static struct afork_process *threaded_template(struct test *t)
{
    const char *argv[] = {t->options.perl, "-Mthreads", "-e1", NULL};
    int status;

    if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL, NULL, NULL,
                      &status, NULL) ||
        status) {
        g_test_skip("this perl has no threads");
        return NULL;
    }
    warnings = (struct warnings){0};
    t->options.on_warning = on_warning;
    t->options.warning_data = &warnings;
    t->options.standard_error.mode = AFORK_STDIO_NULL; /* perl complains of it at exit */
    struct afork_process *template = test_perl_new(t);
    test_ok(afork_process_eval(template,
                               "use threads; pipe my $up, my $in;"
                               "threads->create(sub { syswrite $in, 1; sleep 60 })->detach;"
                               "sysread $up, my $octet, 1",
                               NULL));
    return template;
}

static void forks_with_threads_are_warned_of(struct test *t)
{
    struct afork_process *template = threaded_template(t);

    if (!template)
        return;
    for (int i = 0; i < 3; i++)
        g_free(test_output(t, test_fork(template), "list"));
    g_assert_cmpuint(warnings.calls, ==, 1);
    g_assert_nonnull(strstr(warnings.message, "threads"));
    afork_process_unref(template);
}

static void forks_with_threads_are_refused(struct test *t)
{
    struct subject s;

    t->options.threads = AFORK_THREADS_REFUSE;
    struct afork_process *template = threaded_template(t);
    if (!template)
        return;
    run_to_its_end(t, test_fork(template), "list", &s);
    g_assert_cmpint(s.run.fd, ==, -EAGAIN);
    g_assert_cmpint(s.run.cause, ==, AFORK_CAUSE_FORK);
    g_assert_nonnull(strstr(s.run.message, "thread"));
    g_free(test_output(t, template, "list")); /* itself it lives on */
}

static void random_numbers_differ(struct test *t)
{
    enum { N = 50 };
    struct afork_process *template = test_new(t);
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    test_ok(afork_process_eval(template, "rand; sub number { syswrite $_[0], rand }", NULL));
    for (int i = 0; i < N; i++)
        g_hash_table_add(seen, test_output(t, test_fork(template), "number"));
    g_assert_cmpuint(g_hash_table_size(seen), ==, N);
    afork_process_unref(template);

    /* What the user seeded in an executed process stays. */
    struct afork_process *a = test_new_exec(t), *b = test_new_exec(t);
    test_ok(afork_process_eval(a, "srand 1; sub number { syswrite $_[0], rand }", NULL));
    test_ok(afork_process_eval(b, "srand 1; sub number { syswrite $_[0], rand }", NULL));
    g_autofree char *of_a = test_output(t, a, "number"), *of_b = test_output(t, b, "number");
    g_assert_cmpstr(of_a, ==, of_b);
}

static void options_reach_perl(struct test *t)
{
    g_autofree char *directory = g_dir_make_tmp("afork-XXXXXX", NULL);
    g_autofree char *module = g_build_filename(directory, "Mine.pm", NULL);
    const char *const dirs[] = {directory, NULL};
    const char *const changes[] = {t->environment[0], "AFORK_TEST_VALUE=octets \xff", NULL};

    g_assert_true(g_file_set_contents(module, "package Mine; our $v = 'mine'; 1", -1, NULL));
    t->options.include_dirs = dirs;
    t->options.environment_changes = changes;
    t->options.working_directory = directory;
    t->options.new_session = true;
    struct afork_process *process = test_perl_new_exec(t);
    test_ok(afork_process_require(process, "Mine", NULL));
    test_ok(afork_process_eval(process,
                               "require Cwd; push @seen, $Mine::v, $ENV{AFORK_TEST_VALUE}, "
                               "Cwd::getcwd(), getpgrp == $$ ? 'leader' : '', "
                               "readlink '/proc/self/fd/0'",
                               NULL));
    g_autofree char *text = test_output(t, process, "list");
    g_autofree char *expected = g_strdup_printf("seen mine octets \xff %s leader /dev/null\n",
                                                directory);
    g_assert_cmpstr(text, ==, expected);
    unlink(module);
    rmdir(directory);
}

static void perl_is_changed_for_later_starts(struct test *t)
{
    const char *perl = g_getenv("PERL");
    g_autofree char *lib = g_strdup(g_getenv("AFORK_TEST_PERL_LIB"));
    const char *const dirs[] = {lib, NULL};

    t->options.include_dirs = lib ? dirs : NULL;
    struct afork_process *before = test_perl_new(t);
    test_ok(afork_process_eval(before, "push @seen, 'before'", NULL));
    test_ok(afork_context_set_perl(t->context, perl && *perl ? perl : "perl", AFORK_PEER_ORIGINAL,
                                   NULL));
    struct afork_process *after = test_perl_new(t);
    g_assert_cmpint(afork_process_kill(after, SIGTERM), ==, -ENOTSUP);
    test_ok(afork_context_set_perl(t->context, NULL, AFORK_PEER_OWN, NULL));
    g_autofree char *text = test_output(t, test_perl_new(t), "list");
    g_assert_cmpstr(text, ==, "seen \n");
    g_autofree char *of_before = test_output(t, before, "list");
    g_assert_cmpstr(of_before, ==, "seen before\n");
    afork_process_unref(after);
}

/* A hundred megabytes in one argument. */
static void hundred_megabytes(struct test *t)
{
    enum { SIZE = 100 << 20 };
    struct afork_process *process = test_perl_new(t);
    guint32 *big = g_malloc(SIZE);

    for (guint i = 0; i < SIZE / sizeof *big; i++)
        big[i] = i * 2654435761U;
    g_autofree char *sum = g_compute_checksum_for_data(G_CHECKSUM_MD5, (guchar *)big, SIZE);
    g_autofree char *expected = g_strdup_printf("%d %s\n", SIZE, sum);
    test_ok(afork_process_send_arg_take(process, big, SIZE, g_free));
    g_autofree char *text = test_output(t, process, "digest");
    g_assert_cmpstr(text, ==, expected);
}

/* A host of its own: tells the pids of its template, a server and a worker, and waits for its
 * end. */
static G_GNUC_NORETURN void be_a_host(struct test *t, int out)
{
    struct test copy = {.type = &test_loop_poll, .options = t->options};

    copy.loop_self = copy.type->new ();
    copy.loop = copy.type->get(copy.loop_self);
    struct afork_process *direct = test_new_exec(&copy);
    struct afork_process *server = test_new(&copy), *worker = test_perl_new(&copy);
    test_run_function(&copy, worker, "echo");
    test_wait(&copy, afork_process_peer_pid(server));
    dprintf(out, "%d\n%d\n%d\n", afork_process_pid(direct), afork_process_peer_pid(server),
            afork_process_peer_pid(worker));
    for (;;)
        test_turn_for(&copy, G_USEC_PER_SEC);
}

/* However the host ends: servers at once, workers that look at their channel, too. */
static void nothing_outlives_the_host(struct test *t)
{
    int ends[2], pids[3];

    test_ok(pipe2(ends, O_CLOEXEC));
    pid_t host = fork();
    if (!host && test_copied)
        test_copied();
    if (!host)
        be_a_host(t, ends[1]);
    for (size_t i = 0; i < G_N_ELEMENTS(pids); i++)
        pids[i] = test_read_number(t, ends[0]);
    for (size_t i = 0; i < G_N_ELEMENTS(pids); i++)
        g_assert_true(test_is_running(pids[i]));
    kill(host, SIGKILL);
    gint64 start = g_get_monotonic_time();
    for (size_t i = 0; i < G_N_ELEMENTS(pids); i++)
        test_wait(t, !test_is_running(pids[i]));
    g_assert_cmpint(g_get_monotonic_time() - start, <, G_USEC_PER_SEC);
    g_assert_cmpint(waitpid(host, NULL, 0), ==, host);
    close(ends[0]);
    close(ends[1]);
}

/* The number of the stream socket. */
#define FIND_SOCKET                                                                                \
    "my ($fd) = grep { open(my $s, '+<&', $_) && -S $s && unpack('i', getsockopt $s, 1, 3) == 1 }" \
    " 3 .. 60; die 'no socket' if !$fd;"

/* A control socket that broke, or says what no host says, ends a server after one line at most. */
static void broken_control_socket(struct test *t)
{
    static const char *const codes[] = {
        FIND_SOCKET "open my $null, '<', '/dev/null' or die; require POSIX;"
                    "POSIX::dup2(fileno $null, $fd)",
        FIND_SOCKET "require POSIX; POSIX::close($fd)",
    };
    char text[4096];
    int ends[2];

    test_ok(pipe2(ends, O_CLOEXEC | O_NONBLOCK));
    t->options.standard_error = (struct afork_stdio){.mode = AFORK_STDIO_FD, .fd = ends[1]};
    for (size_t i = 0; i < G_N_ELEMENTS(codes); i++) {
        struct afork_process *process = test_new_exec(t);
        struct test_exit end = {0};

        test_ok(afork_process_on_exit(process, test_on_exit, &end));
        test_ok(afork_process_eval(process, codes[i], NULL));
        gint64 start = g_get_monotonic_time();
        test_wait(t, end.calls);
        g_assert_cmpint(g_get_monotonic_time() - start, <, G_USEC_PER_SEC);
        ssize_t got = read(ends[0], text, sizeof text - 1);
        text[MAX(got, 0)] = '\0';
        const char *newline = strchr(text, '\n');
        g_assert_true(!newline || !newline[1]);
        afork_process_unref(process);
    }
    close(ends[0]);
    close(ends[1]);
}

static void standard_error_is_told(struct test *t)
{
    static const struct {
        const char *code, *text;
    } cases[] = {
        {"die 'it hurts'", "it hurts at (eval"},
        {"sub f { warn 'careful'; die 'worker' }", "careful at (eval"},
        {"sub f { print STDERR 'no newline'; CORE::exit 1 }", "no newline"},
        {"sub f { system 'echo from a shell >&2' }", "from a shell\n"},
    };
    t->options.standard_error.mode = AFORK_STDIO_TAIL;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct afork_process *process = i % 2 ? test_new_exec(t) : test_new(t);
        struct subject s;

        test_ok(afork_process_eval(process, cases[i].code, NULL));
        run_to_its_end(t, process, "f", &s);
        g_test_message("%s", s.end.stderr_tail);
        g_assert_nonnull(strstr(s.end.stderr_tail, cases[i].text));
    }
}

/* Code evaluated in a template may reap what it did not fork: the end is told all the same. */
static void workers_reaped_by_user_code(struct test *t)
{
    static const char *const codes[] = {
        "kill KILL => $_[0]; waitpid $_[0], 0",
        "kill KILL => $_[0]; 1 while waitpid(-1, 0) > 0",
        ("$SIG{CHLD} = 'IGNORE'; kill KILL => $_[0]; "
         "for (1 .. 5000) { last unless kill 0, $_[0]; select undef, undef, undef, 0.001 }"),
    };
    for (size_t i = 0; i < G_N_ELEMENTS(codes); i++) {
        struct afork_process *template = test_perl_new(t), *worker = test_fork(template);
        struct test_exit end = {0};

        test_ok(afork_process_on_exit(worker, test_on_exit, &end));
        int fd = test_run_function(t, worker, "echo");
        g_autofree char *pid = g_strdup_printf("%d", afork_process_peer_pid(worker));
        test_ok(afork_process_eval(template, codes[i], pid, NULL));
        test_wait(t, end.calls);
        close(fd);
        g_assert_cmpint(end.cause, ==, AFORK_CAUSE_UNKNOWN);
        g_autofree char *text = test_output(t, template, "list"); /* it lives */
        g_assert_cmpstr(text, ==, "seen \n");
        g_assert_cmpuint(end.calls, ==, 1);
        afork_process_unref(worker);
    }
}

/* Whatever the program does with its signals. */
static void signals_are_as_perl_starts(struct test *t)
{
    static const int ignored[] = {SIGPIPE, SIGINT, SIGHUP, SIGTERM, SIGUSR1, SIGTSTP};
    struct sigaction before[G_N_ELEMENTS(ignored)];
    sigset_t all, mask;
    /* Without 32 and 33, which are libc's and cannot be set; nor those that a sanitizer catches in
     * a program of its own, SIGBUS and SIGSEGV. */
    g_autofree char *code = g_strdup_printf(
        "open my $in, '<', '/proc/self/status'; push @seen, map {"
        "/^Sig(Blk|Ign|Cgt):\\s*(\\w+)/ ? sprintf('%%s=%%x', $1, hex($2) & ~(3 << 31 | %d)) : () }"
        "<$in>",
        test_has_sanitizers() ? 0x440 : 0);

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &mask);
    for (size_t i = 0; i < G_N_ELEMENTS(ignored); i++)
        sigaction(ignored[i], &(struct sigaction){.sa_handler = SIG_IGN}, &before[i]);
    struct afork_process *process = test_perl_new_exec(t);
    test_ok(afork_process_eval(process, code, NULL));
    g_autofree char *text = test_output(t, process, "list");
    for (size_t i = 0; i < G_N_ELEMENTS(ignored); i++)
        sigaction(ignored[i], &before[i], NULL);
    sigprocmask(SIG_SETMASK, &mask, NULL);
    /* Perl ignores SIGFPE from its main program on; a program that embeds it need not. */
    if (test_launcher && strstr(text, "Ign=0"))
        g_assert_cmpstr(text, ==, "seen Blk=0 Ign=0 Cgt=0\n");
    else
        g_assert_cmpstr(text, ==, "seen Blk=0 Ign=80 Cgt=0\n");
}

static void idle_costs_nothing(struct test *t)
{
    struct afork_process *template = test_perl_new(t);
    int fd = test_run_and_unref(t, test_fork(template), "echo");

    test_turn_for(t, 50 * 1000);
    test_assert_idle(t, 200 * 1000);
    close(fd);
    afork_process_unref(template);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_perl_add("/perl-own/failure/perls-text", failures_have_perls_text);
    test_perl_add("/perl-own/failure/of-template", failed_template_tells_all_below);
    test_perl_add("/perl-own/exit/of-function", ends_of_a_function);
    test_perl_add("/perl-own/exit/standard-error", standard_error_is_told);
    test_perl_add("/perl-own/exit/core-function", core_functions_can_be_run);
    test_perl_add("/perl-own/exit/survives-template", exits_survive_the_template);
    test_perl_add("/perl-own/exit/reaped-by-user-code", workers_reaped_by_user_code);
    test_perl_add("/perl-own/threads/warned-of", forks_with_threads_are_warned_of);
    test_perl_add("/perl-own/threads/refused", forks_with_threads_are_refused);
    test_perl_add("/perl-own/fork/random-numbers", random_numbers_differ);
    test_perl_add("/perl-own/options/reach-perl", options_reach_perl);
    test_perl_add("/perl-own/options/perl-changed", perl_is_changed_for_later_starts);
    test_perl_add("/perl-own/arguments/hundred-megabytes", hundred_megabytes);
    test_perl_add("/perl-own/host/nothing-outlives-it", nothing_outlives_the_host);
    test_perl_add("/perl-own/socket/broken", broken_control_socket);
    test_perl_add("/perl-own/signals", signals_are_as_perl_starts);
    test_perl_add("/perl-own/idle/costs-nothing", idle_costs_nothing);
    return g_test_run();
}
