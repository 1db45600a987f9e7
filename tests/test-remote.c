/* SPDX-License-Identifier: MIT
 *
 * Remote processes. The cases below /remote/any run over the command in AFORK_TEST_REMOTE, if that
 * is set (test-remote-ssh.sh); the others over fake-ssh.sh.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "test-pool-lib.h"
#include "test-remote-lib.h"

/* ---- With any command ---- */

static void arguments_are_octets(struct test *t)
{
    struct afork_process *process = test_remote_any(t);
    g_autofree guint8 *big = test_octets(10 << 20);
    const struct iovec arguments[] = {{big, 256}, {big, 0},        {(char *)"'\"\\\n\0$x@y", 10},
                                      {big, 300}, {big, 10 << 20}, {(char *)"__END__\n", 8}};
    g_autoptr(GString) expected = g_string_new(NULL);

    test_send_digested(process, arguments, G_N_ELEMENTS(arguments), expected);
    test_ok(afork_process_send_arg_take(process, g_strdup("taken"), 5, g_free));
    g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_MD5, "taken", 5);
    g_string_append_printf(expected, "5 %s\n", sum);
    g_autofree char *text = test_output(t, process, "digest");
    g_assert_cmpstr(text, ==, expected->str);
}

static void channel_goes_both_ways(struct test *t)
{
    int fd = test_run_and_unref(t, test_remote_any(t), "echo");
    g_autofree char *data = g_malloc(100000), *back = g_malloc(100000);

    for (int i = 0; i < 100000; i++)
        data[i] = (char)(i * 7);
    for (int i = 0; i < 3; i++) {
        test_write(t, fd, data, 100000);
        test_read(t, fd, back, 100000);
        g_assert_cmpmem(data, 100000, back, 100000);
    }
    close(fd);

    /* Buffered reading, too. */
    fd = test_run_and_unref(t, test_remote_any(t), "lines");
    test_write(t, fd, "one\ntwo\n", 8);
    test_read(t, fd, back, 16);
    g_assert_cmpmem(back, 16, "got one\ngot two\n", 16);
    close(fd);
}

/* What the function writes right behind the answer belongs to the channel, and what was printed
 * before does not. */
static void output_is_the_functions(struct test *t)
{
    t->options.standard_error.mode = AFORK_STDIO_NULL;
    struct afork_process *process = test_remote_any(t);

    test_ok(afork_process_eval(process, "print 'not this'; system 'echo nor this'; $| = 0", NULL));
    test_ok(
        afork_process_eval(process, "print 'nor that'; push @seen, <STDIN> // 'nothing'", NULL));
    struct afork_process *copy = test_fork(process), *third = test_fork(process);
    gsize len;
    g_autofree char *much = test_slurp(t, test_run_and_unref(t, process, "much"), &len);
    g_assert_cmpuint(len, ==, 300001);
    g_assert_cmpuint(strspn(much, "x"), ==, 300000);
    g_autofree char *read = test_output(t, copy, "list");
    g_assert_cmpstr(read, ==, "nothing -\n");
    g_autofree char *child = test_output(t, third, "bear");
    g_assert_cmpstr(child, ==, "from a child\n");
}

static void records_are_copied(struct test *t)
{
    struct afork_process *process = test_remote_any(t);

    test_ok(afork_process_eval(process, "push @seen, @_", "first", NULL));
    test_ok(afork_process_send_arg(process, "a", 1));
    struct afork_process *copy = test_fork(process);
    test_ok(afork_process_eval(process, "push @seen, 'second', @arg", NULL));
    test_ok(afork_process_send_arg(copy, "b", 1));
    struct afork_process *second = test_fork(copy);
    g_autofree char *of_process = test_output(t, process, "list");
    g_autofree char *of_copy = test_output(t, copy, "list");
    g_autofree char *of_second = test_output(t, second, "main::list");
    g_assert_cmpstr(of_process, ==, "first second a - a\n");
    g_assert_cmpstr(of_copy, ==, "first - a b\n");
    g_assert_cmpstr(of_second, ==, "first - a b\n");
}

static void modules_are_loaded(struct test *t)
{
    struct afork_process *process = test_remote_any(t);

    test_ok(afork_process_require(process, "List::Util", "File::Basename", NULL));
    test_ok(afork_process_eval(process, "push @seen, List::Util::sum(@_)", "1", "2", NULL));
    g_autofree char *text = test_output(t, process, "list");
    g_assert_cmpstr(text, ==, "3 -\n");
}

static void errors_are_perls(struct test *t)
{
    static const struct {
        const char *code, *module, *function, *message;
        enum afork_cause cause;
    } cases[] = {
        {"die \"no \\x{263a} good\\n\"", NULL, "list", "no \342\230\272 good\n", AFORK_CAUSE_EVAL},
        {"1 +* 2 +", NULL, "list", "syntax error at (eval ", AFORK_CAUSE_EVAL},
        {"die bless []", NULL, "list", "main=ARRAY(", AFORK_CAUSE_EVAL},
        {"die 'x' x 20000", NULL, "list", "xxxxxxxx", AFORK_CAUSE_EVAL},
        {NULL, "No::Such", "list", "Can't locate No/Such.pm in @INC", AFORK_CAUSE_REQUIRE},
        {NULL, NULL, "nowhere", "Undefined subroutine &main::nowhere called", AFORK_CAUSE_FUNCTION},
        {NULL, NULL, "No::where", "Undefined subroutine &No::where called", AFORK_CAUSE_FUNCTION},
    };
    g_autofree char *big = g_malloc0(1 << 20);

    test_with_tail(t);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct afork_process *process = test_remote_any(t);
        if (cases[i].code)
            test_ok(afork_process_eval(process, cases[i].code, NULL));
        if (cases[i].module)
            test_ok(afork_process_require(process, cases[i].module, NULL));
        test_ok(afork_process_send_arg(process, big, 1 << 20)); /* is never read */
        struct test_remote_end end = test_remote_end_of(t, process, cases[i].function);
        g_assert_cmpint(end.run.fd, ==, -ENOEXEC);
        g_assert_cmpint(end.run.cause, ==, cases[i].cause);
        test_assert_contains(end.run.message, cases[i].message);
        g_assert_cmpint(end.exit.cause, ==, cases[i].cause);
        test_assert_contains(end.exit.message, cases[i].message);
        g_assert_cmpint(end.exit.status, ==, 255);
        if (i != 3) /* too long for the tail */
            test_assert_contains(end.exit.stderr_tail, "ERROR: ");
    }
}

static void ends_are_told(struct test *t)
{
    struct test_remote_end end = test_remote_end_of(t, test_remote_any(t), "leave");
    g_assert_cmpint(end.run.fd, >=, 0);
    g_assert_cmpint(end.exit.cause, ==, AFORK_CAUSE_EXITED);
    g_assert_cmpint(end.exit.status, ==, 3);

    struct afork_process *process = test_remote_any(t);
    test_ok(afork_process_eval(process, "exit 4", NULL));
    end = test_remote_end_of(t, process, "list");
    g_assert_cmpint(end.run.fd, ==, -ECONNRESET);
    g_assert_cmpint(end.exit.cause, ==, AFORK_CAUSE_EXITED);
    g_assert_cmpint(end.exit.status, ==, 4);

    end = test_remote_end_of(t, test_remote_any(t), "CORE::exit");
    g_assert_cmpint(end.run.fd, >=, 0);
    g_assert_cmpint(end.exit.status, ==, 0);
}

static void pid_is_that_of_the_command(struct test *t)
{
    struct afork_process *process = test_remote_any(t);
    struct test_exit end = {0};

    g_assert_cmpint(afork_process_pid(process), ==, 0);
    g_assert_cmpint(afork_process_kill(process, SIGTERM), ==, -ENOTSUP);
    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    int fd = test_run_function(t, process, "echo");
    pid_t pid = afork_process_pid(process);
    g_assert_cmpint(pid, >, 0);
    g_assert_true(test_is_running(pid));
    test_ok(afork_process_kill(process, SIGKILL));
    test_wait(t, end.calls);
    g_assert_cmpint(end.cause, ==, AFORK_CAUSE_SIGNALLED);
    g_assert_cmpint(end.status, ==, SIGKILL);
    g_assert_cmpint(afork_process_pid(process), ==, 0);
    g_assert_cmpint(afork_process_kill(process, SIGKILL), ==, -ESRCH);
    afork_process_unref(process);
    close(fd);
}

/* The worker outlives its handle; without a callback, the channel is closed. */
static void released_after_run(struct test *t)
{
    struct test_run run = {0};
    struct test_exit end = {0};
    struct afork_process *process = test_remote_any(t);
    char back[3];

    test_ok(afork_process_run(process, "echo", test_on_run, &run));
    afork_process_unref(process);
    test_wait(t, run.calls);
    test_write(t, run.fd, "abc", 3);
    test_read(t, run.fd, back, 3);
    close(run.fd);

    process = test_remote_any(t);
    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    test_ok(afork_process_run(process, "echo", NULL, NULL));
    afork_process_unref(process);
    test_wait(t, end.calls);
    g_assert_cmpint(end.cause, ==, AFORK_CAUSE_EXITED);
    g_assert_cmpint(end.status, ==, 0);
}

enum { MANY = 20 };

static void many_at_once(struct test *t)
{
    struct afork_process *process = test_remote_any(t);
    struct test_run runs[MANY] = {{0}};
    struct test_exit ends[MANY] = {{0}};

    for (int i = 0; i < MANY; i++) {
        struct afork_process *copy = test_fork(process);
        g_autofree char *number = g_strdup_printf("%d", i);
        test_ok(afork_process_send_arg(copy, number, strlen(number)));
        test_ok(afork_process_on_exit(copy, test_on_exit, &ends[i]));
        test_ok(afork_process_run(copy, "list", test_on_run, &runs[i]));
        afork_process_unref(copy);
    }
    afork_process_unref(process);
    for (int i = 0; i < MANY; i++) {
        g_autofree char *expected = g_strdup_printf("- %d\n", i);
        test_wait(t, runs[i].calls);
        g_assert_cmpint(runs[i].fd, >=, 0);
        g_autofree char *text = test_slurp(t, runs[i].fd, NULL);
        g_assert_cmpstr(text, ==, expected);
        test_wait(t, ends[i].calls);
    }
}

/* Its back end is sent along. */
static void calls_are_answered(struct test *t)
{
    test_end_auto end = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_call_options with_fd = AFORK_CALL_OPTIONS_INIT;
    test_reply_auto small = {0};
    test_reply_auto big = {0};
    test_reply_auto thrown = {0};
    test_reply_auto lost = {0};
    g_autofree char *data = g_strnfill(2 << 20, 'x');
    const struct iovec strings[][2] = {{{(char *)"add", 3}, {(char *)"abc", 3}},
                                       {{(char *)"add", 3}, {data, 2 << 20}},
                                       {{(char *)"die", 3}, {(char *)"", 0}},
                                       {{(char *)"exit", 4}, {(char *)"", 0}}};
    struct test_reply *replies[] = {&small, &big, &thrown, &lost};
    struct afork_process *process = test_remote_any(t);
    struct afork_rpc *rpc;

    test_ok(afork_process_eval(process,
                               "sub act { my ($do, $x) = @_; die qq(no\n) if $do eq 'die';"
                               " exit 3 if $do eq 'exit'; return ($x, 'y') }",
                               NULL));
    test_ok(afork_rpc_new(process, "act", &options, &rpc));
    afork_process_unref(process);
    with_fd.fds = (int[]){0};
    with_fd.n_fds = 1;
    g_assert_cmpint(
        afork_rpc_call_strings(rpc, strings[0], 2, &with_fd, test_on_reply, &small, NULL), ==,
        -ENOTSUP);
    for (size_t i = 0; i < G_N_ELEMENTS(strings); i++)
        test_ok(afork_rpc_call_strings(rpc, strings[i], 2, NULL, test_on_reply, replies[i], NULL));
    test_wait(t, lost.calls && end.calls);
    g_assert_cmpstr(test_reply_string(&small, 0), ==, "abc");
    g_assert_cmpstr(test_reply_string(&small, 1), ==, "y");
    test_ok(big.error);
    g_assert_cmpuint(g_bytes_get_size(big.data), ==, 4 + (2 << 20) + 2);
    g_assert_cmpint(thrown.error, ==, -EREMOTEIO);
    g_assert_cmpstr(thrown.message, ==, "no\n");
    g_assert_cmpint(lost.error, ==, -ECONNRESET);
    g_assert_true(lost.has_exit);
    afork_rpc_unref(rpc);
}

/* Each worker is a command of its own, and is replaced like any other. */
static void pool_of_commands(struct test *t)
{
    struct test_pool pool = {.t = t};
    struct afork_pool_options options = test_pool_options(&pool);
    struct afork_call_options short_time = AFORK_CALL_OPTIONS_INIT;
    test_many_auto many = {0};
    test_reply_auto ended = {0};
    test_reply_auto late = {0};
    struct afork_process *process = test_remote_any(t);

    test_ok(afork_process_eval(process,
                               "sub act { my ($do) = @_; exit 3 if $do eq 'exit';"
                               " AFork::RPC::event('e') if $do eq 'event';"
                               " select undef, undef, undef, 3 if $do eq 'wait'; @_ }",
                               NULL));
    options.max = 2;
    test_ok(afork_pool_new(process, "act", &options, &pool.pool));
    afork_process_unref(process);
    test_many_init(&many, 44);
    short_time.run_timeout = 300000;
    for (int i = 0; i < 40; i++)
        test_ok(test_many_call(&pool, &many, i % 10 ? "x" : "event", NULL, NULL, NULL));
    test_ok(test_pool_call(&pool, &ended, "exit", NULL, NULL, NULL));
    test_ok(test_pool_call(&pool, &late, "wait", NULL, &short_time, NULL));
    test_wait(t, many.done == 40 && ended.calls && late.calls);
    g_assert_cmpuint(many.good, ==, 40);
    g_assert_cmpint(ended.error, ==, -ECONNRESET);
    g_assert_cmpint(ended.status, ==, 3);
    g_assert_cmpint(late.error, ==, -ETIMEDOUT);
    g_assert_cmpuint(pool.events, ==, 4);
    for (int i = 1; i < 5; i++)
        test_ok(test_many_call(&pool, &many, i % 10 ? "x" : "event", NULL, NULL, NULL));
    test_wait(t, many.done == 44);
    g_assert_cmpuint(many.good, ==, 44);
    test_pool_finish(&pool);
}

/* What the code did to warnings does not keep its exception back, and of copies that it made
 * nothing is heard. */
static void code_that_meddles(struct test *t)
{
    struct afork_process *process = test_remote_any(t);

    test_ok(afork_process_eval(process, "$SIG{__WARN__} = sub { die @_ }; die \"so\\n\"", NULL));
    struct test_remote_end end = test_remote_end_of(t, process, "list");
    g_assert_cmpint(end.run.cause, ==, AFORK_CAUSE_EVAL);
    g_assert_cmpstr(end.run.message, ==, "so\n");

    process = test_remote_any(t);
    test_ok(
        afork_process_eval(process, "my $pid = fork; push @seen, $pid ? 'parent' : 'child'", NULL));
    for (int i = 0; i < 50; i++)
        test_ok(afork_process_eval(process, "push @seen, @_", "x", NULL));
    g_autofree char *text = test_output(t, process, "list");
    g_assert_true(g_str_has_prefix(text, "parent x x "));
    g_assert_cmpuint(strlen(text), ==, strlen("parent -\n") + 50 * strlen(" x"));
}

/* ---- Records ---- */

static void records_cost_nothing(struct test *t)
{
    struct test_exit end = {0};
    struct afork_process *process = test_remote_any(t), *other = test_fork(process);
    unsigned fds = test_count_fds();

    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    struct afork_process *third = test_fork(process);
    g_assert_cmpuint(test_count_fds(), ==, fds);
    test_assert_idle(t, 100000);
    afork_process_unref(process);
    g_assert_cmpuint(end.calls, ==, 0);
    test_wait(t, end.calls);
    g_assert_cmpint(end.cause, ==, AFORK_CAUSE_UNKNOWN);
    g_assert_cmpstr(end.message, ==, "it was never run");

    afork_process_close(other);
    g_assert_cmpint(afork_process_eval(other, "1", NULL), ==, -ESHUTDOWN);
    g_assert_cmpint(afork_process_run(other, "list", NULL, NULL), ==, -ESHUTDOWN);
    afork_process_unref(other);
    afork_context_close(t->context); /* with a record */
    t->context = NULL;
    afork_process_unref(third);
}

static int no_connection(void *data)
{
    return *(int *)data;
}

static void misuse(struct test *t)
{
    static const char *const nothing[] = {NULL}, *const empty[] = {"", NULL};
    struct afork_remote_options options = AFORK_REMOTE_OPTIONS_INIT;
    const struct afork_limits limits = AFORK_LIMITS_INIT;
    struct afork_process *process = test_remote_any(t), *none;
    struct test_run run = {0};

    g_assert_cmpint(afork_process_new_remote(t->context, NULL, &none), ==, -EINVAL);
    g_assert_cmpint(afork_process_new_remote(t->context, &options, &none), ==, -EINVAL);
    options.argv = nothing;
    g_assert_cmpint(afork_process_new_remote(t->context, &options, &none), ==, -EINVAL);
    options.argv = empty;
    g_assert_cmpint(afork_process_new_remote(t->context, &options, &none), ==, -EINVAL);
    g_assert_cmpint(afork_process_new_remote(t->context, test_remote_options("silent", NULL), NULL),
                    ==, -EINVAL);
    g_assert_cmpint(afork_process_new_remote(NULL, test_remote_options("silent", NULL), &none), ==,
                    -EINVAL);
    struct afork_remote_options *both = test_remote_options("silent", NULL);
    both->connect = no_connection;
    g_assert_cmpint(afork_process_new_remote(t->context, both, &none), ==, -EINVAL);
    both = test_remote_options("silent", NULL);
    both->size--;
    g_assert_cmpint(afork_process_new_remote(t->context, both, &none), ==, -EINVAL);
    both = test_remote_options("silent", NULL);
    both->start_timeout = -1;
    g_assert_cmpint(afork_process_new_remote(t->context, both, &none), ==, -EINVAL);

    g_assert_cmpint(afork_process_send_fd(process, 0), ==, -ENOTSUP);
    g_assert_cmpint(afork_process_to_fd(process, test_on_run, &run), ==, -ENOTSUP);
    g_assert_cmpint(afork_process_set_limits(process, &limits), ==, -ENOTSUP);
    g_assert_cmpint(afork_process_set_spares(process, 1), ==, -ENOTSUP);
    g_assert_cmpint(afork_process_set_exit_mode(process, AFORK_EXIT_QUICK), ==, -ENOTSUP);
    g_assert_cmpint(afork_process_end_with_host(process), ==, -ENOTSUP);
    g_assert_cmpint(afork_process_require(process, "no/name", NULL), ==, -EINVAL);
    g_assert_cmpint(afork_process_run(process, "", test_on_run, &run), ==, -EINVAL);
    g_autofree char *dump = NULL;
    test_ok(afork_context_dump(t->context, &dump));
    test_assert_contains(dump, "\"state\": \"record\", \"peer\": \"remote\"");
    g_autofree char *text = test_output(t, process, "list"); /* nothing was lost */
    g_assert_cmpstr(text, ==, "-\n");
    g_assert_cmpuint(run.calls, ==, 0);
}

/* Each descriptor in turn cannot be had: the call says so, and the record can be run later. */
static void no_descriptors(struct test *t)
{
    struct rlimit limit, low;
    struct test_exit end = {0};
    int n_failed = 0;

    test_with_tail(t);
    struct afork_process *process = test_remote_any(t);
    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    test_ok(afork_process_send_arg(process, "x", 1));
    unsigned fds = test_count_fds();
    test_ok(getrlimit(RLIMIT_NOFILE, &limit));
    for (low = limit, low.rlim_cur = fds;; low.rlim_cur++) {
        struct test_run run = {0};
        test_ok(setrlimit(RLIMIT_NOFILE, &low));
        int result = afork_process_run(process, "list", test_on_run, &run);
        test_ok(setrlimit(RLIMIT_NOFILE, &limit));
        if (result == 0) {
            test_wait(t, run.calls);
            g_autofree char *text = test_slurp(t, run.fd, NULL);
            g_assert_cmpstr(text, ==, "- x\n");
            break;
        }
        g_assert_cmpint(result, ==, -EMFILE);
        g_assert_cmpuint(test_count_fds(), ==, fds);
        n_failed++;
    }
    g_assert_cmpint(n_failed, >, 2);
    test_wait(t, end.calls);
    g_assert_cmpint(end.cause, ==, AFORK_CAUSE_EXITED);
    afork_process_unref(process);
}

/* A perl that trusts nothing trusts the host. */
static void taint(struct test *t)
{
    struct afork_process *process = test_remote(t, "taint", NULL);

    test_ok(afork_process_eval(process, test_remote_functions, NULL));
    test_ok(afork_process_require(process, "List::Util", NULL));
    test_ok(afork_process_eval(process, "push @seen, ${^TAINT}, eval $_[0]", "1 + 1", NULL));
    g_autofree char *text = test_output(t, process, "list");
    g_assert_cmpstr(text, ==, "1 2 -\n");
}

/* What the context says of environment, directory and standard error holds; nothing else is open.
 */
static void options_of_the_context(struct test *t)
{
    t->environment[1] = "AFORK_TEST_VALUE=value";
    t->options.working_directory = "/";
    test_with_tail(t);
    struct afork_remote_options *options = test_remote_options("environment", NULL);
    g_autofree char *script = g_canonicalize_filename(options->argv[1], NULL);
    ((const char **)options->argv)[1] = script;
    struct afork_process *process = test_remote_with(t, options);
    test_ok(afork_process_eval(process, test_remote_functions, NULL));
    test_ok(afork_process_eval(process, "print STDERR \"title $0\\n\"", NULL));
    struct test_remote_end end = test_remote_end_of(t, process, "list");
    test_assert_contains(end.exit.stderr_tail, "value in /\n0\n1\n2\n3\ntitle ");
    test_assert_contains(end.exit.stderr_tail, " AFork::Remote\n");
}

/* The same function, as the manual has it, in a process of this machine. */
static void functions_run_anywhere(struct test *t)
{
    const char *perl = g_getenv("PERL"), *dir = g_getenv("AFORK_TEST_PERL_LIB");
    static const char *dirs[2];

    if (!dir) {
        g_test_skip("AFORK_TEST_PERL_LIB is not set");
        return;
    }
    t->options.perl = perl && *perl ? perl : "perl";
    t->options.peer = AFORK_PEER_ORIGINAL;
    dirs[0] = dir;
    t->options.include_dirs = dirs;
    for (int n = 0; n < 2; n++) {
        struct afork_process *process = n ? test_remote_any(t) : test_new_exec(t);
        char back[8];
        test_ok(afork_process_eval(process, test_remote_functions, NULL));
        int fd = test_run_and_unref(t, process, "lines");
        test_write(t, fd, "abc\n", 4);
        test_read(t, fd, back, 8);
        g_assert_cmpmem(back, 8, "got abc\n", 8);
        close(fd);
    }
}

/* A login takes its time: one loop has to do then. */
static void add_any(const char *path, test_func *func)
{
    if (g_getenv("AFORK_TEST_REMOTE"))
        test_add_for(&test_loop_poll, path, func);
    else
        test_add(path, func);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add_any("/remote/any/arguments", arguments_are_octets);
    add_any("/remote/any/channel", channel_goes_both_ways);
    add_any("/remote/any/output", output_is_the_functions);
    add_any("/remote/any/fork", records_are_copied);
    add_any("/remote/any/modules", modules_are_loaded);
    add_any("/remote/any/errors", errors_are_perls);
    add_any("/remote/any/ends", ends_are_told);
    add_any("/remote/any/pid", pid_is_that_of_the_command);
    add_any("/remote/any/released", released_after_run);
    add_any("/remote/any/many", many_at_once);
    add_any("/remote/any/meddles", code_that_meddles);
    add_any("/remote/any/rpc", calls_are_answered);
    add_any("/remote/any/pool", pool_of_commands);
    if (g_getenv("AFORK_TEST_REMOTE"))
        return g_test_run();
    test_add("/remote/record/costs-nothing", records_cost_nothing);
    test_add("/remote/record/misuse", misuse);
    test_add("/remote/record/no-descriptors", no_descriptors);
    test_add_for(&test_loop_poll, "/remote/record/taint", taint);
    test_add("/remote/record/context", options_of_the_context);
    test_add_for(&test_loop_poll, "/remote/record/anywhere", functions_run_anywhere);
    return g_test_run();
}
