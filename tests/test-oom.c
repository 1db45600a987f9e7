/* SPDX-License-Identifier: MIT
 *
 * Out of memory: each allocation of each call fails in turn. The call says so, changes nothing, and
 * works the next time. Linked with --wrap for the functions that allocate; they fail for the core
 * alone. Against the fake server.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/socket.h>

#include "rpc.h"
#include "spawn.h"
#include "test-lib.h"

static unsigned n_released;
static int countdown; /* the allocation to fail, 1 being the next; 0: none */

static bool fails(void)
{
    if (!countdown || --countdown)
        return false;
    errno = ENOMEM;
    return true;
}

/* The linker's names. */
#define WRAP(type, name, parameters, arguments)                                                    \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return fails() ? NULL : __real_##name arguments;                                           \
    }

WRAP(void *, malloc, (size_t size), (size))
WRAP(void *, calloc, (size_t n, size_t size), (n, size))
WRAP(void *, realloc, (void *memory, size_t size), (memory, size))
WRAP(void *, reallocarray, (void *memory, size_t n, size_t size), (memory, n, size))
WRAP(char *, strdup, (const char *string), (string))
WRAP(char *, strndup, (const char *string, size_t len), (string, len))

struct attempt {
    struct test *t;
    struct afork_process *process, *made;
    struct test_run run;
};

typedef int operation(struct attempt *a);

static int make_context(struct attempt *a)
{
    return afork_context_new(a->t->loop, &a->t->options, &a->t->context);
}

static int set_perl(struct attempt *a)
{
    return afork_context_set_perl(a->t->context, a->t->options.perl, AFORK_PEER_OWN, NULL);
}

static int new_exec(struct attempt *a)
{
    return afork_process_new_exec(a->t->context, &a->made);
}

static int new_process(struct attempt *a)
{
    return afork_process_new(a->t->context, &a->made);
}

/* Repeats `call` with its first, second, ... allocation failing until it needs no more. Returns how
 * often it failed. */
static int fail_each_allocation(struct attempt *a, operation *call)
{
    for (int n = 1;; n++) {
        unsigned fds = test_count_fds();
        a->made = NULL;
        countdown = n;
        int result = call(a);
        bool reached = !countdown;
        countdown = 0;
        if (!reached) {
            test_ok(result);
            return n - 1;
        }
        if (result == 0 && a->made) { /* it found another way */
            g_free(test_output(a->t, a->made, "return"));
            continue;
        }
        g_assert_cmpint(result, ==, -ENOMEM);
        if (call != new_process) /* the default template may be there now */
            g_assert_cmpuint(test_count_fds(), ==, fds);
    }
}

static int fork_process(struct attempt *a)
{
    return afork_process_fork(a->process, &a->made);
}

static int eval_code(struct attempt *a)
{
    return afork_process_eval(a->process, "code", "x", NULL);
}

static int require_modules(struct attempt *a)
{
    return afork_process_require(a->process, "A::B", "C", NULL);
}

static int require_list(struct attempt *a)
{
    const char *const modules[] = {"D", NULL};
    return afork_process_require_list(a->process, modules);
}

static int send_arg(struct attempt *a)
{
    return afork_process_send_arg(a->process, "argument", 8);
}

static unsigned n_released;

static void release(void *data)
{
    n_released++;
    g_free(data);
}

static int send_arg_take(struct attempt *a)
{
    char *text = g_strdup("taken");

    n_released = 0;
    int result = afork_process_send_arg_take(a->process, text, 5, release);
    g_assert_cmpuint(n_released, ==, result == 0); /* sent at once, or still the caller's */
    if (result < 0)
        g_free(text);
    return result;
}

static int send_fd(struct attempt *a)
{
    return afork_process_send_fd(a->process, 0);
}

static int run(struct attempt *a)
{
    return afork_process_run(a->process, "dump", test_on_run, &a->run);
}

/* What is left to be adopted. */
static int handed_over = -1;

static int adopt(struct attempt *a)
{
    return afork_process_new_from_fd(a->t->context, handed_over, AFORK_PEER_OWN, &a->made);
}

static int to_fd(struct attempt *a)
{
    return afork_process_to_fd(a->process, test_on_run, &a->run);
}

static void contexts(struct test *t)
{
    static const char *const list[] = {"A=1", "B=2", NULL};
    struct attempt a = {.t = t};

    t->options.include_dirs = list;
    t->options.environment = list;
    t->options.environment_changes = list;
    t->options.working_directory = "/";
    g_assert_cmpint(fail_each_allocation(&a, make_context), >, 10);
    g_assert_cmpint(fail_each_allocation(&a, set_perl), >, 0);
}

static void processes(struct test *t)
{
    struct attempt a = {.t = t};

    t->options.standard_error.mode = AFORK_STDIO_TAIL;
    test_context(t);
    g_assert_cmpint(fail_each_allocation(&a, new_exec), >, 2);
    a.process = a.made;
    g_assert_cmpint(fail_each_allocation(&a, fork_process), >, 2);
    g_free(test_output(t, a.made, "return"));
    g_free(test_output(t, a.process, "return"));

    /* Also that of the default template. */
    g_assert_cmpint(fail_each_allocation(&a, new_process), >, 4);
    g_free(test_output(t, a.made, "return"));
}

static void commands(struct test *t)
{
    static operation *const operations[] = {eval_code, require_modules, require_list,
                                            send_arg,  send_arg_take,   send_fd};
    struct attempt a = {.t = t, .process = test_new(t)};

    for (size_t i = 0; i < G_N_ELEMENTS(operations); i++)
        g_assert_cmpint(fail_each_allocation(&a, operations[i]), >, 0);
    g_assert_cmpint(fail_each_allocation(&a, run), >, 0);
    test_wait(t, a.run.calls);
    g_autofree char *text = test_slurp(t, a.run.fd, NULL);
    *strstr(text, "fd ") = '\0';
    g_assert_cmpstr(text, ==,
                    "code code\nwith x\n"
                    "code require \"$_.pm\" for @_\nwith A/B\nwith C\n"
                    "code require \"$_.pm\" for @_\nwith D\narg argument\narg taken\n");
    afork_process_unref(a.process);
}

static void handover(struct test *t)
{
    for (int n = 0; n < 3; n++) {
        struct attempt a = {.t = t, .process = test_new_exec(t)};
        pid_t pid = afork_process_pid(a.process);

        g_assert_cmpint(fail_each_allocation(&a, to_fd), ==, 1);
        countdown = n; /* what it costs when the answer comes: the memory that reaps it, the text */
        test_wait(t, a.run.calls);
        countdown = 0;
        afork_process_unref(a.process);
        handed_over = a.run.fd;
        g_assert_cmpint(fail_each_allocation(&a, adopt), >, 3);
        g_free(test_output(t, a.made, "return"));
        test_wait(t, !test_is_running(pid));
    }
}

static int new_remote(struct attempt *a)
{
    static const char *const argv[] = {"perl", NULL};
    struct afork_remote_options options = AFORK_REMOTE_OPTIONS_INIT;

    options.argv = argv;
    return afork_process_new_remote(a->t->context, &options, &a->made);
}

static int run_remote(struct attempt *a)
{
    return afork_process_run(a->process, "CORE::exit", test_on_run, &a->run);
}

static void remote(struct test *t)
{
    static operation *const operations[] = {eval_code, require_modules, require_list, send_arg};
    struct attempt a = {.t = t};

    t->options.standard_error.mode = AFORK_STDIO_TAIL;
    test_context(t);
    test_ok(new_remote(&a)); /* what times need is the context's, and stays */
    afork_process_unref(a.made);
    g_assert_cmpint(fail_each_allocation(&a, new_remote), >, 3);
    a.process = a.made;
    for (size_t i = 0; i < G_N_ELEMENTS(operations); i++)
        g_assert_cmpint(fail_each_allocation(&a, operations[i]), >, 0);
    g_assert_cmpint(fail_each_allocation(&a, fork_process), >, 4);
    struct afork_process *copy = a.made;
    afork_process_unref(a.process);
    a.process = test_fork(copy);
    afork_process_unref(a.process);

    /* Not with those commands, which no perl could obey. */
    test_ok(new_remote(&a));
    a.process = a.made;
    unsigned fds = test_count_fds();
    int n_failed = 0;
    for (int result = -ENOMEM; result; n_failed += !!result) {
        countdown = n_failed + 1; /* the last is for watching the pid, which has another way */
        result = run_remote(&a);
        countdown = 0;
        g_assert_true(result == 0 || result == -ENOMEM);
        g_assert_true(result == 0 || test_count_fds() == fds);
    }
    g_assert_cmpint(n_failed, >, 4);
    test_wait(t, a.run.calls);
    g_assert_cmpint(a.run.fd, >=, 0);
    close(a.run.fd);
    afork_process_unref(a.process);

    /* The answer comes while memory is short. */
    for (int n = 1; n <= 3; n++) {
        struct test_run run = {0};
        struct test_exit end = {0};
        struct afork_process *process = test_fork(copy);
        test_ok(afork_process_on_exit(process, test_on_exit, &end));
        test_ok(afork_process_run(process, "CORE::exit", test_on_run, &run));
        countdown = n;
        test_wait(t, end.calls);
        countdown = 0;
        g_assert_cmpuint(run.calls, ==, 1);
        g_assert_cmpint(run.cause, ==, AFORK_CAUSE_REQUIRE);
        afork_process_unref(process);
    }
    afork_process_unref(copy);
}

static void count_warning(struct afork_context *context, struct afork_process *process,
                          const char *message, void *data)
{
    ++*(unsigned *)data;
}

/* What comes in while memory is short: texts may be lost, callbacks not. */
static void answers(struct test *t)
{
    static const char *const codes[] = {"die no good", "kill 9", "error 4 no fork", "exit 3"};
    static unsigned warnings;

    warnings = 0;
    t->options.standard_error.mode = AFORK_STDIO_TAIL;
    t->options.on_warning = count_warning;
    t->options.warning_data = &warnings;
    for (size_t i = 0; i < G_N_ELEMENTS(codes); i++) {
        for (int n = 1; n <= 4; n++) {
            struct afork_process *process = test_new(t);
            struct test_run run = {0};
            struct test_exit end = {0};

            test_ok(afork_process_on_exit(process, test_on_exit, &end));
            test_ok(afork_process_eval(process, "warn once", NULL));
            test_ok(afork_process_eval(process, codes[i], NULL));
            test_ok(afork_process_run(process, "hold", test_on_run, &run));
            countdown = n;
            test_wait(t, end.calls);
            countdown = 0;
            g_assert_cmpuint(run.calls, ==, 1);
            g_assert_cmpint(run.fd, <, 0);
            g_assert_cmpuint(end.calls, ==, 1);
            afork_process_unref(process);
        }
    }
    g_assert_cmpuint(warnings, >=, G_N_ELEMENTS(codes));
}

/* ---- Pools ---- */

static struct afork_pool_options pool_options(void)
{
    static const char *const paths[] = {"/usr", "/tmp", NULL};
    static const struct afork_limits limits = {
        .size = sizeof limits, .read_paths = paths, .write_paths = paths};
    struct afork_pool_options options = AFORK_POOL_OPTIONS_INIT;

    options.rpc.init = options.rpc.done = "f";
    options.rpc.serialiser = AFORK_SERIALISER_JSON;
    options.limits = &limits;
    options.max_failures = 1;
    return options;
}

static void count_reply(const struct afork_reply *reply, void *data)
{
    g_assert_cmpint(reply->error, <, 0); /* the fake server has no back end */
    ++*(unsigned *)data;
}

static void pool_ended(struct afork_pool *pool, void *data)
{
    *(bool *)data = true;
    g_assert_nonnull(pool);
}

static void making_pools(struct test *t)
{
    struct afork_pool_options options = pool_options();
    struct afork_process *process = test_new(t);
    bool reached = true;

    for (int n = 1; reached; n++) {
        struct afork_pool *pool = NULL;
        countdown = n;
        int result = afork_pool_new(process, "f", &options, &pool);
        reached = !countdown;
        countdown = 0;
        if (result < 0)
            g_assert_cmpint(result, ==, -ENOMEM);
        else
            g_assert_true(!reached && n > 15);
        afork_pool_close(pool);
        afork_pool_unref(pool);
    }
    afork_process_unref(process);
}

/* Whatever fails: a call is not accepted, or it completes. */
static void calls_of_pools(struct test *t)
{
    struct afork_pool_options options = pool_options();
    int n_refused = 0, n = 0;
    bool reached = true, ended;

    t->options.standard_error.mode = AFORK_STDIO_NULL;
    struct afork_process *process = test_new(t);
    options.on_destroy = pool_ended;
    options.data = &ended;
    while (reached) {
        struct afork_pool *pool;
        unsigned n_replies = 0;
        ended = false;
        test_ok(afork_pool_new(process, "f", &options, &pool));
        countdown = ++n;
        int result = afork_pool_call(pool, "x", 1, NULL, count_reply, &n_replies, NULL);
        reached = !countdown;
        countdown = 0;
        g_assert_true(!result || result == -ENOMEM);
        n_refused += result < 0;
        afork_pool_unref(pool);
        test_wait(t, ended);
        g_assert_cmpuint(n_replies, ==, result < 0 ? 0 : 1);
    }
    g_assert_cmpint(n_refused, >=, 1);
    g_assert_cmpint(n, >, 4);
    afork_process_unref(process);
}

/* ---- Remote procedure calls ---- */

static void any_reply(const struct afork_reply *reply, void *data)
{
    *(int *)data = reply->error ? reply->error : 1;
}

static void count_release(void *data)
{
    (void)data;
    n_released++;
}

static void making_rpcs(struct test *t)
{
    struct afork_process *process = test_new(t);
    bool reached = true;

    for (int n = 1; reached; n++) {
        struct afork_process *copy = test_fork(process);
        struct afork_rpc *rpc = NULL;
        countdown = n;
        int result = afork_rpc_new(copy, "f", NULL, &rpc);
        reached = !countdown;
        countdown = 0;
        g_assert_cmpint(result, ==, reached ? -ENOMEM : 0);
        g_assert_true(reached || n > 3);
        afork_rpc_close(rpc);
        afork_rpc_unref(rpc);
        afork_process_unref(copy);
    }
    afork_process_unref(process);
}

/* What is refused leaves nothing, and is released by nobody. */
static void calls_of_rpcs(struct test *t)
{
    struct afork_process *process = test_new(t);
    struct afork_call_options options = AFORK_CALL_OPTIONS_INIT;
    static char octets[] = "\1x";
    int fds[] = {0, 1}, reply = 0, n_refused = 0;
    struct afork_rpc *rpc;
    bool reached = true;

    n_released = 0;
    options.timeout = 1000000;
    options.fds = fds;
    options.n_fds = 2;
    test_ok(afork_rpc_new(process, "f", NULL, &rpc));
    unsigned n_fds = test_count_fds();
    for (int n = 1; reached; n++) {
        countdown = n;
        int result = afork_rpc_call_take(rpc, octets, 2, count_release, octets, &options, any_reply,
                                         &reply, NULL);
        reached = !countdown;
        countdown = 0;
        g_assert_cmpint(result, ==, reached ? -ENOMEM : 0);
        n_refused += result < 0;
        if (reached)
            g_assert_cmpuint(test_count_fds(), ==, n_fds);
        g_assert_cmpuint(n_released, ==, 0);
    }
    g_assert_cmpint(n_refused, ==, 3);       /* the call, its descriptors, the table */
    test_wait(t, test_count_fds() == n_fds); /* what was accepted is sent, sooner or later */
    afork_rpc_close(rpc);
    g_assert_cmpuint(n_released, ==, 1);
    afork_rpc_unref(rpc);
    afork_process_unref(process);
}

/* Answers that come while memory is short: each call completes, or its channel ends. */
static void answers_of_rpcs(struct test *t)
{
    enum { LARGE = 100000 };
    g_autofree uint8_t *octets = g_malloc0(AFORK__RPC_HEADER_SIZE + LARGE);
    struct afork__rpc_header frame = {.kind = AFORK__RPC_RESULT, .n_fds = 1, .id = 1, .len = LARGE};
    struct afork_process *process = test_new(t);
    struct iovec iov = {octets, AFORK__RPC_HEADER_SIZE + LARGE};
    bool reached = true;
    int n = 0;

    afork__rpc_put_header(octets, &frame);
    while (reached) {
        struct afork_process *copy = test_fork(process);
        struct afork_rpc *rpc;
        int pair[2], reply = 0;
        test_ok(afork_rpc_new(copy, "f", NULL, &rpc));
        test_ok(afork__socketpair(SOCK_STREAM, pair));
        test_ok(afork_rpc_call(rpc, "\1x", 2, NULL, any_reply, &reply, NULL));
        test_ok(afork__rpc_open(rpc, pair[0]));
        g_assert_cmpuint(rpc->last_id, ==, 1);
        g_assert_cmpint(afork__fd_send(pair[1], &iov, 1, pair, 1, 0), ==, iov.iov_len);
        free(t->context->receive_buffer);
        t->context->receive_buffer = NULL;
        countdown = ++n;
        afork__rpc_io_cb(AFORK_IN, rpc);
        afork__rpc_io_cb(AFORK_IN, rpc);
        reached = !countdown;
        countdown = 0;
        g_assert_cmpint(rpc->state, ==, reached ? AFORK__RPC_CLOSED : AFORK__RPC_OPEN);
        g_assert_cmpint(reply, ==, reached ? 0 : 1);
        g_assert_cmpint(rpc->error, ==, reached ? -ENOMEM : 0);
        afork_rpc_close(rpc);
        afork_rpc_unref(rpc);
        close(pair[1]);
        afork_process_unref(copy);
    }
    g_assert_cmpint(n, ==, 4); /* the buffer, the descriptors, the payload */
    afork_process_unref(process);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_add_for(&test_loop_poll, "/oom/contexts", contexts);
    test_add_for(&test_loop_poll, "/oom/processes", processes);
    test_add_for(&test_loop_poll, "/oom/commands", commands);
    test_add_for(&test_loop_poll, "/oom/handover", handover);
    test_add_for(&test_loop_poll, "/oom/remote", remote);
    test_add_for(&test_loop_poll, "/oom/answers", answers);
    test_add_for(&test_loop_poll, "/oom/rpcs", making_rpcs);
    test_add_for(&test_loop_poll, "/oom/rpc-calls", calls_of_rpcs);
    test_add_for(&test_loop_poll, "/oom/rpc-answers", answers_of_rpcs);
    test_add_for(&test_loop_poll, "/oom/pools", making_pools);
    test_add_for(&test_loop_poll, "/oom/pool-calls", calls_of_pools);
    return g_test_run();
}
