/* SPDX-License-Identifier: MIT
 *
 * How remote procedure calls end: the worker fails to start, ends, is told to finish, is closed.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#ifndef TEST_GOBJECT
#include "rpc.h"
#endif
#include "test-rpc-lib.h"
#include "util.h"

enum { MILLISECOND = 1000 };

/* ---- Ends of the worker ---- */

/* Ways of a worker to end in a call, and what is said of them. */
static const struct {
    const char *act, *how;
    enum afork_cause cause;
    int status;
} ends[] = {
    {"exit", "55", AFORK_CAUSE_EXITED, 55},
    {"_exit", "0", AFORK_CAUSE_EXITED, 0},
    {"kill", "KILL", AFORK_CAUSE_SIGNALLED, 9},
    {"kill", "SEGV", AFORK_CAUSE_SIGNALLED, 11},
};

static void end_fails_what_is_open(struct test *t)
{
    for (size_t i = 0; i < G_N_ELEMENTS(ends); i++) {
        test_end_auto end = {0};
        test_reply_auto before = {0}, ended = {0}, after = {0};
        struct afork_rpc_options options = test_rpc_options(&end);
        struct afork_rpc *rpc = test_rpc(t, NULL, "act", &options);
        test_call(rpc, &before, "pid", NULL);
        test_call(rpc, &ended, ends[i].act, ends[i].how, NULL);
        test_call(rpc, &after, "pid", NULL);
        test_wait(t, end.calls);
        test_ok(before.error);
        g_assert_cmpint(ended.error, ==, -ECONNRESET);
        g_assert_cmpint(ended.cause, ==, ends[i].cause);
        g_assert_cmpint(ended.status, ==, ends[i].status);
        g_autofree char *number = g_strdup_printf("%d", ends[i].status);
        g_assert_nonnull(strstr(ended.message, number));
        g_assert_cmpint(after.error, ==, -ECONNRESET);
        g_assert_cmpuint(after.released, ==, 1);
        g_assert_cmpint(end.error, ==, -ECONNRESET);
        test_reply_auto late = {0};
        struct afork_call_options none = AFORK_CALL_OPTIONS_INIT;
        g_assert_cmpint(test_call_full(rpc, &late, &none, (const char *[]){"pid", NULL}, NULL), ==,
                        -EPIPE);
        afork_rpc_unref(rpc);
    }
}

/* What cannot start, and a part of what is said. */
static const struct {
    const char *code, *function, *init, *serialiser, *words;
    int error;
} starts[] = {
    {NULL, "missing", NULL, NULL, "Undefined subroutine &main::missing called", -ENOEXEC},
    {NULL, "echo", "missing", NULL, "Undefined subroutine &main::missing called", -ENOEXEC},
    {"sub broken { die qq(no database\\n) }", "echo", "broken", NULL, "no database", -ENOEXEC},
    {NULL, "echo", NULL, "use No::Such::Module; ()", "No/Such/Module.pm", -ENOEXEC},
    {NULL, "echo", NULL, "1", "serialiser", -ENOEXEC},
    {"1 +", "echo", NULL, NULL, "syntax error", -ENOEXEC},
    {"require No::Such::Module", "echo", NULL, NULL, "No/Such/Module.pm", -ENOEXEC},
};

static void failed_start_fails_all(struct test *t)
{
    t->options.standard_error.mode = AFORK_STDIO_NULL;
    for (size_t i = 0; i < G_N_ELEMENTS(starts); i++) {
        test_end_auto end = {0};
        test_reply_auto first = {0}, second = {0};
        struct afork_rpc_options options = test_rpc_options(&end);
        options.init = starts[i].init;
        options.serialiser = starts[i].serialiser;
        struct afork_rpc *rpc = test_rpc(t, starts[i].code, starts[i].function, &options);
        test_call(rpc, &first, "a", NULL);
        test_call(rpc, &second, "b", NULL);
        test_wait(t, end.calls);
        g_test_message("%s", end.message);
        g_assert_cmpint(end.error, ==, starts[i].error);
        g_assert_nonnull(strstr(end.message, starts[i].words));
        g_assert_cmpint(first.error, ==, starts[i].error);
        g_assert_cmpstr(second.message, ==, end.message);
        afork_rpc_unref(rpc);
    }
}

static void missing_perl_fails_all(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto reply = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_process *process;
    struct afork_rpc *rpc;

    t->options.perl = "/no/such/perl";
    int result = afork_process_new(test_context(t), &process);
    if (result < 0) { /* told at once, where the loop does not start it */
        g_assert_cmpint(result, ==, -ENOENT);
        return;
    }
    test_ok(afork_rpc_new(process, "echo", &options, &rpc));
    afork_process_unref(process);
    test_call(rpc, &reply, "a", NULL);
    test_wait(t, end.calls);
    g_assert_cmpint(reply.error, ==, -ENOENT);
    afork_rpc_unref(rpc);
}

/* What is known when it is told to run is there when it has entered. */
static void calls_go_ahead(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto reply = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_rpc *rpc = test_rpc(t, NULL, "echo", &options);

    test_call(rpc, &reply, "x", NULL);
    test_inside(g_assert_cmpint(rpc->state, ==, AFORK__RPC_STARTING));
    test_inside(g_assert_true(TAILQ_EMPTY(&rpc->unsent) && !rpc->writing));
    test_wait(t, reply.calls);
    g_assert_cmpstr(test_reply_string(&reply, 0), ==, "x");
    test_finish(t, rpc, &end);
    test_ok(end.error);
}

/* ---- Releasing and closing ---- */

static void finish_comes_after_answers(struct test *t)
{
    g_autoptr(GString) order = g_string_new(NULL);
    test_end_auto end = {.order = order};
    struct test_reply replies[5] = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_rpc *rpc = test_rpc(t, NULL, "echo", &options);

    for (guint i = 0; i < G_N_ELEMENTS(replies); i++) {
        replies[i].order = order;
        replies[i].tag = (char)('a' + i);
        test_call(rpc, &replies[i], "x", NULL);
    }
    afork_rpc_ref(rpc);
    afork_rpc_finish(rpc);
    struct afork_call_options none = AFORK_CALL_OPTIONS_INIT;
    g_assert_cmpint(test_call_full(rpc, &replies[0], &none, (const char *[]){NULL}, NULL), ==,
                    -EPIPE);
    afork_rpc_unref(rpc);
    test_finish(t, rpc, &end);
    g_assert_cmpstr(order->str, ==, "abcde.");
    test_ok(end.error);
    for (guint i = 0; i < G_N_ELEMENTS(replies); i++)
        test_reply_clear(&replies[i]);
}

static void close_is_silent(struct test *t)
{
    for (int stage = 0; stage < 3; stage++) {
        test_end_auto end = {0};
        test_reply_auto reply = {0}, due = {0};
        struct afork_rpc_options options = test_rpc_options(&end);
        struct afork_call_options none = AFORK_CALL_OPTIONS_INIT;
        struct afork_rpc *rpc = test_rpc(t, NULL, "act", &options);
        struct afork_call *call;
        if (stage == 1)
            test_rpc_wait(t, rpc);
        test_call(rpc, &reply, "nothing", NULL);
        test_ok(test_call_full(rpc, &due, &none, (const char *[]){"x", NULL}, &call));
        test_ok(afork_call_cancel(call, AFORK_CANCEL_ABANDON));
        if (stage == 2)
            afork_context_close(t->context);
        afork_rpc_close(rpc);
        test_soon(t, reply.released + due.released == 2);
        afork_rpc_close(rpc);
        afork_rpc_unref(rpc);
        if (stage == 2)
            t->context = NULL;
        else
            test_turn_for(t, 20 * MILLISECOND);
        g_assert_cmpuint(reply.calls + due.calls + end.calls, ==, 0);
    }
}

struct closer {
    struct test *t;
    struct afork_rpc *rpc;
    int how;
    unsigned calls, released;
};

enum { BY_CLOSE, BY_UNREF, BY_CONTEXT, BY_TURNING, N_WAYS };

static void close_in_callback(const struct afork_reply *reply, void *data)
{
    struct closer *closer = data;

    (void)reply;
    if (closer->calls++)
        return;
    switch (closer->how) {
    case BY_CLOSE:
        afork_rpc_close(closer->rpc);
        break;
    case BY_UNREF:
        afork_rpc_unref(closer->rpc);
        break;
    case BY_CONTEXT:
        afork_context_close(closer->t->context);
        closer->t->context = NULL;
        break;
    default: /* other calls of this rpc do not come in here */
        test_turn_for(closer->t, 20 * MILLISECOND);
        g_assert_cmpuint(closer->calls, ==, 1);
    }
}

static void on_closer_release(void *data)
{
    ((struct closer *)data)->released++;
}

static void callback_may_do_anything(struct test *t)
{
    for (int how = 0; how < N_WAYS; how++) {
        struct closer closer = {.t = t, .how = how};
        test_end_auto end = {0};
        struct afork_rpc_options options = test_rpc_options(&end);
        struct afork_call_options with_release = AFORK_CALL_OPTIONS_INIT;
        with_release.release = on_closer_release;
        closer.rpc = test_rpc(t, NULL, "echo", &options);
        for (int i = 0; i < 10; i++)
            test_ok(afork_rpc_call(closer.rpc, NULL, 0, &with_release, close_in_callback, &closer,
                                   NULL));
        test_wait(t, closer.released == 10);
        bool all = how == BY_UNREF || how == BY_TURNING;
        g_assert_cmpuint(closer.calls, ==, all ? 10 : 1);
        if (how == BY_UNREF)
            test_wait(t, end.calls);
        else
            afork_rpc_unref(closer.rpc);
        if (how == BY_TURNING)
            test_wait(t, end.calls);
    }
}

static void process_may_be_killed(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto reply = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_process *process = test_rpc_process(t, NULL);
    struct afork_rpc *rpc;

    test_ok(afork_rpc_new(process, "act", &options, &rpc));
    test_call(rpc, &reply, "stay", NULL);
    test_wait(t, reply.events);
    test_ok(afork_process_kill(process, SIGKILL));
    test_wait(t, end.calls);
    g_assert_cmpint(reply.cause, ==, AFORK_CAUSE_SIGNALLED);
    afork_rpc_unref(rpc);
    afork_process_unref(process);
}

static void closed_process_ends_it(struct test *t)
{
    for (int opened = 0; opened < 2; opened++) {
        test_end_auto end = {0};
        test_reply_auto reply = {0};
        struct afork_rpc_options options = test_rpc_options(&end);
        struct afork_process *process = test_rpc_process(t, NULL);
        struct afork_rpc *rpc;
        test_ok(afork_rpc_new(process, "act", &options, &rpc));
        if (opened)
            test_rpc_wait(t, rpc);
        test_call(rpc, &reply, "exit", "1", NULL);
        afork_process_close(process);
        g_assert_cmpuint(reply.calls, ==, 0);
        test_wait(t, end.calls);
        g_assert_cmpint(reply.error, ==, opened ? -ECONNRESET : -ESHUTDOWN);
        afork_rpc_unref(rpc);
        afork_process_unref(process);
    }
}

/* An idle worker does not keep a program running, but what it has to answer does. */
static void idle_does_not_keep_alive(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto reply = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_rpc *rpc = test_rpc(t, NULL, "echo", &options);

    test_call(rpc, &reply, "x", NULL);
    test_ok(afork_poll_run(t->loop_self));
    g_assert_cmpuint(reply.calls, ==, 1);
    g_assert_cmpuint(end.calls, ==, 0);
    afork_rpc_unref(rpc);
    test_ok(afork_poll_run(t->loop_self));
    g_assert_cmpuint(end.calls, ==, 1);
}

static void idle_is_idle(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto reply = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_process *process = test_rpc_process(t, NULL);
    struct afork_rpc *rpc;

    test_ok(afork_rpc_new(process, "act", &options, &rpc));
    test_call(rpc, &reply, "stay", NULL);
    test_wait(t, reply.events);
    test_turn_for(t, 50 * MILLISECOND);
    test_assert_idle(t, 300 * MILLISECOND);
    test_ok(afork_process_kill(process, SIGKILL));
    test_wait(t, end.calls);
    afork_rpc_unref(rpc);
    afork_process_unref(process);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        test_func *func;
    } cases[] = {
        {"/rpc/end-in-a-call", end_fails_what_is_open},
        {"/rpc/failed-start", failed_start_fails_all},
        {"/rpc/go-ahead", calls_go_ahead},
        {"/rpc/missing-perl", missing_perl_fails_all},
        {"/rpc/finish", finish_comes_after_answers},
        {"/rpc/close/silent", close_is_silent},
        {"/rpc/close/in-callback", callback_may_do_anything},
        {"/rpc/kill", process_may_be_killed},
        {"/rpc/closed-process", closed_process_ends_it},
        {"/rpc/idle", idle_is_idle},
    };

    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
        test_calls_add(cases[i].path, cases[i].func);
    test_perl_add("/rpc/keep-alive", idle_does_not_keep_alive);
    return g_test_run();
}
