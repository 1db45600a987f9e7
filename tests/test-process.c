/* SPDX-License-Identifier: MIT
 *
 * Commands and what they do: arguments, code, modules, forks, functions, and their errors. Against
 * the fake server.
 */
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test-lib.h"
#include "util.h"

static void run_of_new(struct test *t)
{
    struct afork_process *process = test_new(t);
    struct test_run run = {0};

    test_ok(afork_process_run(process, "echo", test_on_run, &run));
    g_assert_cmpuint(run.calls, ==, 0); /* not inside the call */
    test_wait(t, run.calls);
    g_assert_cmpint(run.fd, >=, 3);
    g_assert_cmpint(afork_process_pid(process), ==, 0);
    g_assert_cmpint(afork_process_peer_pid(process), >, 0);
    g_assert_cmpint(run.pid, ==, afork_process_peer_pid(process));

    char answer[5];
    test_write(t, run.fd, "hello", 5);
    test_read(t, run.fd, answer, 5);
    g_assert_cmpmem(answer, 5, "hello", 5);
    close(run.fd);
    afork_process_unref(process);
}

static void run_of_new_exec(struct test *t)
{
    struct afork_process *process = test_new_exec(t);

    pid_t pid = afork_process_pid(process);
    g_assert_cmpint(pid, >, 0);
    g_assert_cmpint(afork_process_peer_pid(process), ==, pid);
    g_autofree char *status = test_output(t, afork_process_ref(process), "status");
    g_autofree char *line = g_strdup_printf("\nPid:\t%d\n", pid);
    g_assert_nonnull(strstr(status, line));
    test_wait(t, afork_process_pid(process) == 0);
    g_assert_cmpint(afork_process_peer_pid(process), ==, 0);
    afork_process_unref(process);
}

static void run_without_callback(struct test *t)
{
    struct afork_process *process = test_new(t);
    struct test_exit end = {0};

    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    test_ok(afork_process_run(process, "echo", NULL, NULL)); /* sees the end of its channel */
    afork_process_unref(process);
    test_wait(t, end.calls);
    g_assert_cmpint(end.cause, ==, AFORK_CAUSE_EXITED);
    g_assert_cmpint(end.status, ==, 0);
}

static void output_before_the_callback_waits(struct test *t)
{
    struct afork_process *process = test_new(t);
    gsize len;

    test_ok(afork_process_send_arg(process, "100000", 6));
    int fd = test_run_function(t, process, "flood");
    test_wait(t, afork_process_peer_pid(process) == 0); /* it has ended, too */
    g_free(test_slurp(t, fd, &len));
    g_assert_cmpuint(len, ==, 100000);
    afork_process_unref(process);
}

static void arguments_arrive_in_order(struct test *t)
{
    struct afork_process *process = test_new(t);

    test_ok(afork_process_send_arg(process, "one", 3));
    test_ok(afork_process_send_arg(process, NULL, 0));
    test_ok(afork_process_send_arg_take(process, g_strdup("three"), 5, g_free));
    test_ok(afork_process_eval(process, "note", "x", "", NULL));
    test_ok(afork_process_require(process, "Some::Module", "Other", NULL));
    g_autofree char *text = test_output(t, process, "dump");
    g_assert_cmpstr(text, ==,
                    "code note\nwith x\nwith \n"
                    "code require \"$_.pm\" for @_\nwith Some/Module\nwith Other\n"
                    "arg one\narg \narg three\n");
}

static char *expected_digest(const void *data, gsize len)
{
    g_autofree char *sum = g_compute_checksum_for_data(G_CHECKSUM_MD5, data, len);
    return g_strdup_printf("%" G_GSIZE_FORMAT " %s\n", len, sum);
}

static void arguments_are_octets(struct test *t)
{
    struct afork_process *process = test_new(t);
    guint8 octets[257];

    for (guint i = 0; i < sizeof octets; i++)
        octets[i] = (guint8)i; /* the last is a zero again */
    test_ok(afork_process_send_arg(process, octets, sizeof octets));
    g_autofree char *expected = expected_digest(octets, sizeof octets);
    memset(octets, 0, sizeof octets); /* it was copied */
    g_autofree char *text = test_output(t, process, "digest");
    g_assert_cmpstr(text, ==, expected);
}

static unsigned n_released;

static void release(void *data)
{
    n_released++;
    g_free(data);
}

static void big_arguments(struct test *t)
{
    enum { SIZE = 20 << 20 };
    struct afork_process *process = test_new(t);
    guint8 *big = g_malloc(SIZE);

    for (guint i = 0; i < SIZE; i++)
        big[i] = (guint8)(i * 2654435761U >> 13);
    g_autofree char *line = expected_digest(big, SIZE);
    g_autofree char *expected = g_strconcat(line, line, NULL);
    n_released = 0;
    test_ok(afork_process_send_arg(process, big, SIZE));
    test_ok(afork_process_send_arg_take(process, big, SIZE, release));
    g_assert_cmpuint(n_released, ==, 0); /* it cannot have been sent */
    g_autofree char *text = test_output(t, process, "digest");
    g_assert_cmpuint(n_released, ==, 1);
    g_assert_cmpstr(text, ==, expected);
}

/* Also what is dropped is released. */
static void taken_argument_is_released(struct test *t)
{
    struct afork_process *process = test_new(t);

    n_released = 0;
    test_ok(afork_process_send_arg_take(process, g_malloc0(10 << 20), 10 << 20, release));
    afork_process_close(process);
    g_assert_cmpuint(n_released, ==, 1);

    /* A call that fails takes nothing. */
    char *mine = g_malloc(1);
    g_assert_cmpint(afork_process_send_arg_take(process, mine, 1, release), ==, -ESHUTDOWN);
    g_assert_cmpuint(n_released, ==, 1);
    g_free(mine);
    afork_process_unref(process);
}

static void fork_copies_what_was_sent(struct test *t)
{
    struct afork_process *template = test_new_exec(t);

    test_ok(afork_process_eval(template, "first", NULL));
    test_ok(afork_process_send_arg(template, "a", 1));
    struct afork_process *a = test_fork(template);
    test_ok(afork_process_send_arg(template, "b", 1));
    test_ok(afork_process_eval(template, "second", NULL));
    struct afork_process *b = test_fork(template);
    test_ok(afork_process_send_arg(a, "only a", 6));

    g_autofree char *of_template = test_output(t, template, "dump");
    g_autofree char *of_a = test_output(t, a, "dump");
    g_autofree char *of_b = test_output(t, b, "dump");
    g_assert_cmpstr(of_template, ==, "code first\ncode second\narg a\narg b\n");
    g_assert_cmpstr(of_a, ==, "code first\narg a\narg only a\n");
    g_assert_cmpstr(of_b, ==, "code first\ncode second\narg a\narg b\n");
}

static void forks_of_forks(struct test *t)
{
    struct afork_process *process = test_new(t);

    for (int depth = 0; depth < 5; depth++) {
        test_ok(afork_process_send_arg(process, "x", 1));
        struct afork_process *child = test_fork(process);
        afork_process_unref(process); /* the queue with the fork is still delivered */
        process = child;
    }
    g_autofree char *text = test_output(t, process, "dump");
    g_assert_cmpstr(text, ==, "arg x\narg x\narg x\narg x\narg x\n");
}

static void module_names_are_checked(struct test *t)
{
    static const char *const good[] = {"A", "A::B", "A::B::C", "_a1", "A::2b", "Time::HiRes"};
    static const char *const bad[] = {"",      "A:B",    "A::", "::A", "A B",  "A/B", "../A",
                                      "A;die", "A::::B", "A\n", "9A",  "A.pm", "-A",  "A'B"};
    struct afork_process *process = test_new(t);
    const char *const list[] = {"One", "T::wo", NULL}, *const bad_list[] = {"One", "T:wo", NULL};

    for (size_t i = 0; i < G_N_ELEMENTS(good); i++)
        test_ok(afork_process_require(process, good[i], NULL));
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_assert_cmpint(afork_process_require(process, bad[i], NULL), ==, -EINVAL);
        g_assert_cmpint(afork_process_require(process, "Good", bad[i], NULL), ==, -EINVAL);
    }
    test_ok(afork_process_require_list(process, list));
    g_assert_cmpint(afork_process_require_list(process, bad_list), ==, -EINVAL);
    g_autofree char *text = test_output(t, process, "dump");
    g_assert_true(g_str_has_suffix(text, "with One\nwith T/wo\n"));
    g_assert_null(strstr(text, "Good"));
}

/* What a failure is told as, to run's callback and to that of the exit. */
struct failure {
    const char *code, *module, *function;
    int error;
    enum afork_cause cause;
    const char *message;
};

static void assert_fails(struct test *t, struct afork_process *process, const struct failure *f)
{
    struct test_run run = {0};
    struct test_exit end = {0};

    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    if (f->code)
        test_ok(afork_process_eval(process, f->code, NULL));
    if (f->module)
        test_ok(afork_process_require(process, f->module, NULL));
    test_ok(afork_process_run(process, f->function, test_on_run, &run));
    test_wait(t, end.calls);
    g_assert_cmpuint(run.calls, ==, 1);
    g_assert_cmpint(run.fd, ==, f->error);
    g_assert_cmpint(run.cause, ==, f->cause);
    g_assert_nonnull(strstr(run.message, f->message));
    g_assert_cmpint(end.cause, ==, f->cause);
    g_assert_nonnull(strstr(end.message, f->message));
    test_turn_for(t, 20000);
    g_assert_cmpuint(run.calls, ==, 1);
    g_assert_cmpuint(end.calls, ==, 1);
    afork_process_unref(process);
}

static void failures_have_cause_and_text(struct test *t)
{
    static const struct failure failures[] = {
        {"die it hurts", NULL, "echo", -ENOEXEC, AFORK_CAUSE_EVAL, "it hurts"},
        {NULL, "Missing", "echo", -ENOEXEC, AFORK_CAUSE_REQUIRE, "Can't locate Missing.pm"},
        {NULL, NULL, "nope", -ENOEXEC, AFORK_CAUSE_FUNCTION, "Undefined subroutine &main::nope"},
        {"exit 3", NULL, "echo", -ECONNRESET, AFORK_CAUSE_EXITED, ""},
        {"kill 9", NULL, "echo", -ECONNRESET, AFORK_CAUSE_SIGNALLED, ""},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(failures); i++) {
        assert_fails(t, test_new(t), &failures[i]);
        assert_fails(t, test_new_exec(t), &failures[i]);
    }
}

static void fork_that_fails(struct test *t)
{
    static const struct failure failure = {
        NULL, NULL, "echo", -EAGAIN, AFORK_CAUSE_FORK, "out of processes"};
    struct afork_process *template = test_new_exec(t);

    test_ok(afork_process_eval(template, "fork-fails", NULL));
    assert_fails(t, test_fork(template), &failure);
    g_autofree char *text = test_output(t, template, "dump"); /* the template lives on */
    g_assert_cmpstr(text, ==, "code fork-fails\n");
}

static void count_call(struct afork_process *process, int fd, const struct afork_exit *failure,
                       void *data)
{
    ++*(unsigned *)data;
    if (fd >= 0)
        close(fd);
}

static void misuse_is_refused(struct test *t)
{
    struct afork_process *process = test_new(t), *other;
    unsigned calls = 0;

    g_assert_cmpint(afork_process_new(NULL, &other), ==, -EINVAL);
    g_assert_cmpint(afork_process_new(test_context(t), NULL), ==, -EINVAL);
    g_assert_cmpint(afork_process_new_exec(NULL, &other), ==, -EINVAL);
    g_assert_cmpint(afork_process_fork(NULL, &other), ==, -EINVAL);
    g_assert_cmpint(afork_process_eval(process, NULL, NULL), ==, -EINVAL);
    g_assert_cmpint(afork_process_eval(NULL, "x", NULL), ==, -EINVAL);
    g_assert_cmpint(afork_process_eval_iov(process, NULL, 0), ==, -EINVAL);
    g_assert_cmpint(afork_process_require(process, NULL, NULL), ==, -EINVAL);
    g_assert_cmpint(afork_process_require_list(process, NULL), ==, -EINVAL);
    g_assert_cmpint(afork_process_send_fd(process, -1), ==, -EBADF);
    g_assert_cmpint(afork_process_send_fd(process, 9999), ==, -EBADF);
    g_assert_cmpint(afork_process_send_arg(process, NULL, 1), ==, -EINVAL);
    g_assert_cmpint(afork_process_run(process, NULL, count_call, &calls), ==, -EINVAL);
    g_assert_cmpint(afork_process_kill(process, -1), ==, -EINVAL);
    g_assert_cmpint(afork_process_kill(process, 1000), ==, -EINVAL);
    g_assert_cmpint(afork_process_pid(NULL), ==, 0);
    g_assert_cmpint(afork_process_peer_pid(NULL), ==, 0);
    g_assert_null(afork_process_ref(NULL));
    afork_process_unref(NULL);
    afork_process_close(NULL);

    g_autofree char *text = test_output(t, process, "dump");
    g_assert_cmpstr(text, ==, ""); /* what failed left nothing in the queue */
    g_assert_cmpuint(calls, ==, 0);
}

static void assert_refuses_commands(struct afork_process *process, int error)
{
    struct afork_process *child;

    g_assert_cmpint(afork_process_eval(process, "x", NULL), ==, error);
    g_assert_cmpint(afork_process_require(process, "X", NULL), ==, error);
    g_assert_cmpint(afork_process_send_fd(process, 0), ==, error);
    g_assert_cmpint(afork_process_send_arg(process, "x", 1), ==, error);
    g_assert_cmpint(afork_process_fork(process, &child), ==, error);
    g_assert_cmpint(afork_process_run(process, "echo", count_call, NULL), ==, error);
}

static void commands_end_with_run(struct test *t)
{
    struct afork_process *process = test_new(t);
    struct test_run run = {0};
    struct test_exit end = {0};

    test_ok(afork_process_run(process, "hold", test_on_run, &run));
    assert_refuses_commands(process, -EINVAL); /* at once */
    test_wait(t, run.calls);
    assert_refuses_commands(process, -EINVAL);
    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    test_ok(afork_process_kill(process, 0));
    close(run.fd);
    test_wait(t, end.calls);
    assert_refuses_commands(process, -EINVAL);
    g_assert_cmpint(afork_process_kill(process, SIGTERM), ==, -ESRCH);
    g_assert_cmpuint(run.calls, ==, 1);
    afork_process_unref(process);
}

/* Data of a callback that is counted when it is released. */
struct owned {
    struct test_run run;
    unsigned released;
    struct afork_process *to_close; /* in the callback */
};

static void owned_run(struct afork_process *process, int fd, const struct afork_exit *failure,
                      void *data)
{
    struct owned *owned = data;

    test_on_run(process, fd, failure, &owned->run);
    if (fd >= 0)
        close(fd);
    if (owned->to_close)
        afork_process_close(owned->to_close);
    g_assert_cmpuint(owned->released, ==, 0);
}

static void owned_release(void *data)
{
    ((struct owned *)data)->released++;
}

/* Once in each case, whether the callback comes or cannot come any more. */
static void data_of_run_is_released(struct test *t)
{
    enum { WORKS, FAILS, CLOSED, CLOSED_IN_CALLBACK, CONTEXT, CONTEXT_ENDED, N_WAYS };

    for (int way = 0; way < N_WAYS; way++) {
        struct afork_process *process = test_new(t);
        struct owned owned = {.to_close = way == CLOSED_IN_CALLBACK ? process : NULL};
        struct test_exit end = {0};
        bool called = way == WORKS || way == FAILS || way == CLOSED_IN_CALLBACK;

        g_assert_cmpint(afork_process_run_full(process, "", owned_run, &owned, owned_release), ==,
                        -EINVAL);
        g_assert_cmpint(afork_process_run_full(process, "hold", NULL, &owned, owned_release), ==,
                        -EINVAL);
        test_wait(t, way != CONTEXT_ENDED || afork_process_peer_pid(process));
        pid_t pid = afork_process_peer_pid(process);
        test_ok(afork_process_on_exit(process, test_on_exit, &end));
        test_ok(afork_process_run_full(process, way == FAILS ? "nope" : "return", owned_run, &owned,
                                       owned_release));
        if (way == CLOSED) {
            afork_process_close(process);
            g_assert_cmpuint(owned.released, ==, 1);
        }
        while (way == CONTEXT_ENDED && test_is_running(pid))
            g_thread_yield(); /* its end waits to be told */
        if (called)
            test_wait(t, owned.released);
        afork_process_unref(process);
        if (!called) {
            afork_context_close(t->context);
            t->context = NULL;
        }
        test_turn_for(t, 10 * 1000);
        g_assert_cmpuint(owned.run.calls, ==, called);
        g_assert_cmpuint(owned.released, ==, 1);
    }
}

static void commands_end_with_close(struct test *t)
{
    struct afork_process *process = test_new(t);
    struct test_exit end = {0};

    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    afork_process_close(process);
    afork_process_close(process);
    assert_refuses_commands(process, -ESHUTDOWN);
    g_assert_cmpint(afork_process_kill(process, SIGTERM), ==, -ESHUTDOWN);
    g_assert_cmpint(afork_process_on_exit(process, test_on_exit, &end), ==, -ESHUTDOWN);
    test_turn_for(t, 20000);
    g_assert_cmpuint(end.calls, ==, 0);
    afork_process_unref(process);
}

static void commands_end_with_the_context(struct test *t)
{
    struct afork_process *process = test_new(t), *other;

    g_assert_true(afork_process_get_loop(process) == t->loop);
    afork_context_close(t->context);
    g_assert_null(afork_process_get_loop(process));
    assert_refuses_commands(process, -ESHUTDOWN);
    g_assert_cmpint(afork_process_fork(process, &other), ==, -ESHUTDOWN);
    afork_process_ref(process);
    afork_process_unref(process);
    afork_process_unref(process);
    t->context = NULL;
}

/* One megabyte there and back at the same time, through the smallest buffers. */
struct exchange {
    struct test *t;
    int fd;
    struct afork_io *io;
    const char *out;
    gsize sent, got, size;
};

static void on_exchange(unsigned events, void *data)
{
    struct exchange *x = data;
    char buffer[65536];

    if (events & AFORK_OUT) {
        ssize_t n = write(x->fd, x->out + x->sent, x->size - x->sent);
        g_assert_true(n > 0 || errno == EAGAIN);
        x->sent += n > 0 ? (gsize)n : 0;
    }
    if (events & AFORK_IN) {
        ssize_t n = read(x->fd, buffer, sizeof buffer);
        g_assert_true(n > 0 || (n < 0 && errno == EAGAIN));
        if (n > 0)
            g_assert_cmpmem(buffer, n, x->out + x->got, n);
        x->got += n > 0 ? (gsize)n : 0;
    }
    x->t->loop->ops->io_set(x->io, AFORK_IN | (x->sent < x->size ? AFORK_OUT : 0));
}

static void megabyte_both_ways(struct test *t)
{
    struct exchange x = {.t = t, .size = 1 << 20};
    g_autofree char *data = g_malloc(x.size);
    const int one = 1;

    for (gsize i = 0; i < x.size; i++)
        data[i] = (char)(i * 2654435761U >> 11);
    x.out = data;
    x.fd = test_run_and_unref(t, test_new(t), "echo-small");
    test_ok(setsockopt(x.fd, SOL_SOCKET, SO_SNDBUF, &one, sizeof one));
    test_ok(t->loop->ops->io_new(t->loop, x.fd, AFORK_IN | AFORK_OUT, on_exchange, &x, &x.io));
    test_wait(t, x.got == x.size);
    t->loop->ops->io_free(x.io);
    close(x.fd);
}

static void many_short_lives(struct test *t)
{
    enum { N = 200, AT_ONCE = 20 };
    struct test_run runs[AT_ONCE];
    struct test_exit ends[AT_ONCE];

    for (int round = 0; round < N / AT_ONCE; round++) {
        memset(runs, 0, sizeof runs);
        memset(ends, 0, sizeof ends);
        for (int i = 0; i < AT_ONCE; i++) {
            struct afork_process *process = test_new(t);
            test_ok(afork_process_on_exit(process, test_on_exit, &ends[i]));
            test_ok(afork_process_send_arg(process, "7", 1));
            test_ok(afork_process_run(process, "exit", test_on_run, &runs[i]));
            afork_process_unref(process);
        }
        for (int i = 0; i < AT_ONCE; i++) {
            test_wait(t, ends[i].calls);
            g_assert_cmpuint(runs[i].calls, ==, 1);
            g_assert_cmpint(runs[i].fd, >=, 0);
            close(runs[i].fd);
            g_assert_cmpint(ends[i].cause, ==, AFORK_CAUSE_EXITED);
            g_assert_cmpint(ends[i].status, ==, 7);
            g_assert_true(ends[i].has_usage);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_add("/process/run/data-released", data_of_run_is_released);
    test_add("/process/run/of-new", run_of_new);
    test_add("/process/run/of-new-exec", run_of_new_exec);
    test_add("/process/run/without-callback", run_without_callback);
    test_add("/process/run/output-before-callback-waits", output_before_the_callback_waits);
    test_add("/process/arguments/in-order", arguments_arrive_in_order);
    test_add("/process/arguments/octets", arguments_are_octets);
    test_add("/process/arguments/big", big_arguments);
    test_add("/process/arguments/taken-are-released", taken_argument_is_released);
    test_add("/process/fork/copies-what-was-sent", fork_copies_what_was_sent);
    test_add("/process/fork/of-forks", forks_of_forks);
    test_add("/process/fork/that-fails", fork_that_fails);
    test_add("/process/require/names-are-checked", module_names_are_checked);
    test_add("/process/failure/cause-and-text", failures_have_cause_and_text);
    test_add("/process/misuse/refused", misuse_is_refused);
    test_add("/process/commands/end-with-run", commands_end_with_run);
    test_add("/process/commands/end-with-close", commands_end_with_close);
    test_add("/process/commands/end-with-context", commands_end_with_the_context);
    test_add("/process/channel/megabyte-both-ways", megabyte_both_ways);
    test_add("/process/many/short-lives", many_short_lives);
    return g_test_run();
}
