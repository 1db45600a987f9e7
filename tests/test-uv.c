/* SPDX-License-Identifier: MIT
 *
 * Channels as uv_pipe_t: use, failure, and letting go in any order. The fixture closes the
 * uv_loop_t after each case, one turn after all was released. Against the fake server.
 */
#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test-channel.h"
#include "uv-call.h"


/* ---- the channel ---- */

static void channel_is_a_pipe(struct test *t)
{
    struct uv_call call = {.action = uv_call_say_hello, .pipe.data = &call};
    struct test_exit end = {0};
    struct afork_process *process = test_new(t);

    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    uv_call_start(&call, process, "echo");
    g_assert_true(call.pipe.loop == uv_call_loop(t));
    g_assert_false(uv_is_active((uv_handle_t *)&call.pipe));
    afork_process_unref(process);
    test_wait(t, call.ended && end.calls);
    g_assert_cmpuint(call.calls, ==, 1);
    g_assert_cmpstr(call.text->str, ==, "hello\n");
    g_assert_true(call.pipe.data == &call);
    uv_call_finish(t, &call);
}

static void many_at_once(struct test *t)
{
    enum { N = 200 };
    g_autofree struct uv_call *calls = g_new0(struct uv_call, N);
    struct afork_process *template = test_new(t);

    for (int i = 0; i < N; i++) {
        struct afork_process *process = test_fork(template);
        g_autofree char *number = g_strdup_printf("%d", i);
        calls[i].action = uv_call_read;
        test_ok(afork_process_send_arg(process, number, strlen(number)));
        uv_call_start(&calls[i], process, "dump");
        afork_process_unref(process);
    }
    for (int i = 0; i < N; i++) {
        g_autofree char *expected = g_strdup_printf("arg %d\n", i);
        test_wait(t, calls[i].ended);
        g_assert_cmpstr(calls[i].text->str, ==, expected);
        uv_call_finish(t, &calls[i]);
    }
    afork_process_unref(template);
}

/* The round of a kind of channel that the tests of channels use. */
static void channel_of_the_tests(struct test *t)
{
    struct afork_process *process = test_new(t), *late = test_new(t);
    struct test_channel *channel = test_channel_uv.run(t, process, "echo");
    struct test_channel *never = test_channel_uv.run(t, late, "echo");

    test_channel_uv.close(never);
    test_wait(t, channel->opened);
    test_channel_uv.write(channel, "abc", 3);
    test_channel_uv.shut(channel);
    test_channel_uv.read(channel, true);
    test_wait(t, channel->ended);
    g_assert_cmpuint(channel->received->len, ==, 3);
    g_assert_cmpuint(channel->unwritten, ==, 0);
    g_assert_cmpint(channel->error, ==, 0);
    test_channel_uv.close(channel);
    afork_process_unref(process);
    afork_process_unref(late);
}

/* ---- what can fail ---- */

static void failures_have_names(struct test *t)
{
    static const struct {
        const char *to_template, *code, *function;
        int status;
        enum afork_cause cause;
    } cases[] = {
        {NULL, NULL, "nope", UV_ECONNABORTED, AFORK_CAUSE_FUNCTION},
        {NULL, "die wrong", "echo", UV_ECONNABORTED, AFORK_CAUSE_EVAL},
        {NULL, "exit 3", "echo", UV_ECONNRESET, AFORK_CAUSE_EXITED},
        {NULL, "kill 9", "echo", UV_ECONNRESET, AFORK_CAUSE_SIGNALLED},
        {NULL, "error 5 it is confused", "echo", UV_EPROTO, AFORK_CAUSE_PROTOCOL},
        {"fork-fails", NULL, "echo", UV_EAGAIN, AFORK_CAUSE_FORK},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct uv_call call = {0};
        struct afork_process *template = test_new_exec(t);

        if (cases[i].to_template)
            test_ok(afork_process_eval(template, cases[i].to_template, NULL));
        struct afork_process *process = test_fork(template);
        if (cases[i].code)
            test_ok(afork_process_eval(process, cases[i].code, NULL));
        uv_call_start(&call, process, cases[i].function);
        afork_process_unref(process);
        afork_process_unref(template);
        test_wait(t, call.calls);
        g_assert_cmpint(call.status, ==, cases[i].status);
        g_assert_cmpint(call.cause, ==, cases[i].cause);
        g_assert_null(strstr(uv_strerror(call.status), "Unknown"));
        g_assert_cmpint(uv_is_readable((uv_stream_t *)&call.pipe), ==, 0);
        uv_call_finish(t, &call);
        g_assert_cmpuint(call.calls, ==, 1);
    }
}

static void misuse_leaves_the_pipe_alone(struct test *t)
{
    struct uv_call call, untouched;
    struct afork_process *process = test_new(t), *elsewhere;
    struct afork_poll *poll;
    struct afork_context *context;

    memset(&call, 0x5a, sizeof call);
    memcpy(&untouched, &call, sizeof call);
    test_ok(afork_poll_new(&poll));
    test_ok(afork_context_new(afork_poll_loop(poll), &t->options, &context));
    test_ok(afork_process_new(context, &elsewhere));
    g_assert_cmpint(afork_uv_run(elsewhere, "echo", &call.pipe, uv_call_on_run, &call), ==,
                    UV_EINVAL);
    afork_context_close(context);
    g_assert_cmpint(afork_uv_run(elsewhere, "echo", &call.pipe, uv_call_on_run, &call), ==,
                    UV_ESHUTDOWN);
    afork_process_unref(elsewhere);
    afork_poll_free(poll);

    g_assert_cmpint(afork_uv_run(NULL, "echo", &call.pipe, uv_call_on_run, &call), ==, UV_EINVAL);
    g_assert_cmpint(afork_uv_run(process, NULL, &call.pipe, uv_call_on_run, &call), ==, UV_EINVAL);
    g_assert_cmpint(afork_uv_run(process, "echo", NULL, uv_call_on_run, &call), ==, UV_EINVAL);
    g_assert_cmpint(afork_uv_run(process, "echo", &call.pipe, NULL, &call), ==, UV_EINVAL);
    test_ok(afork_process_run(process, "return", NULL, NULL));
    g_assert_cmpint(afork_uv_run(process, "echo", &call.pipe, uv_call_on_run, &call), ==,
                    UV_EINVAL);
    afork_process_close(process);
    g_assert_cmpint(afork_uv_run(process, "echo", &call.pipe, uv_call_on_run, &call), ==,
                    UV_ESHUTDOWN);
    afork_process_unref(process);
    g_assert_cmpmem(&call, sizeof call, &untouched, sizeof call);
}

static void opened_by_the_user(struct test *t)
{
    struct uv_call call = {0};
    struct test_exit end = {0};
    struct afork_process *process = test_new(t);
    int pair[2];

    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    uv_call_start(&call, process, "echo");
    test_ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    test_ok(uv_pipe_open(&call.pipe, pair[0]));
    test_wait(t, call.calls && end.calls); /* the worker has seen the end of its channel */
    g_assert_cmpint(call.status, ==, UV_EBUSY);
    afork_process_unref(process);
    call.status = 0;
    uv_call_read(&call); /* the user's is as it was */
    g_assert_cmpint(write(pair[1], "x", 1), ==, 1);
    close(pair[1]);
    test_wait(t, call.ended);
    g_assert_cmpstr(call.text->str, ==, "x");
    uv_call_finish(t, &call);
}

/* ---- letting go ---- */

/* What a case does one after the other; the callback comes, or does not. */
enum step { WAIT = 1, CLOSE_PIPE, UNREF, CLOSE_PROCESS, CLOSE_CONTEXT };

static void take_step(struct test *t, struct uv_call *call, enum step step)
{
    switch (step) {
    case WAIT:
        test_wait(t, call->calls);
        break;
    case CLOSE_PIPE:
        uv_call_close(call);
        break;
    case UNREF:
        afork_process_unref(call->process);
        break;
    case CLOSE_PROCESS:
        afork_process_close(call->process);
        break;
    case CLOSE_CONTEXT:
        afork_context_close(t->context);
        t->context = NULL;
        break;
    }
}

static void closed_in_any_order(struct test *t)
{
    static const struct {
        enum step steps[4];
        bool called;
        int status;
    } cases[] = {
        {{CLOSE_PIPE, UNREF, WAIT}, true, UV_ECANCELED},
        {{UNREF, CLOSE_PIPE, WAIT}, true, UV_ECANCELED},
        {{UNREF, WAIT, CLOSE_PIPE}, true, 0},
        {{WAIT, CLOSE_PIPE, UNREF}, true, 0},
        {{WAIT, UNREF, CLOSE_PIPE}, true, 0},
        {{WAIT, CLOSE_PROCESS, UNREF, CLOSE_PIPE}, true, 0},
        {{WAIT, CLOSE_CONTEXT, CLOSE_PIPE, UNREF}, true, 0},
        {{CLOSE_PROCESS, CLOSE_PIPE, UNREF}, false, 0},
        {{CLOSE_PIPE, CLOSE_PROCESS, UNREF}, false, 0},
        {{CLOSE_PIPE, UNREF, CLOSE_CONTEXT}, false, 0},
        {{CLOSE_CONTEXT, UNREF, CLOSE_PIPE}, false, 0},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct uv_call call = {0};

        uv_call_start(&call, test_new(t), "echo");
        for (size_t j = 0; j < G_N_ELEMENTS(cases[i].steps) && cases[i].steps[j]; j++)
            take_step(t, &call, cases[i].steps[j]);
        uv_call_finish(t, &call);
        g_assert_cmpuint(call.calls, ==, cases[i].called);
        g_assert_cmpint(call.status, ==, cases[i].status);
    }
}

/* The memory of the pipe is the user's again after the close callback, if the process was
 * closed. */
static void pipe_may_go_before_the_process(struct test *t)
{
    struct uv_call *call = g_new0(struct uv_call, 1);
    struct test_exit end = {0};
    struct afork_process *process = test_new(t);

    uv_call_start(call, process, "echo");
    afork_process_close(process);
    uv_call_finish(t, call);
    g_free(call); /* a sanitizer would tell */

    struct afork_process *other = test_new(t);
    test_ok(afork_process_on_exit(other, test_on_exit, &end));
    test_ok(afork_process_run(other, "return", NULL, NULL));
    afork_process_unref(other);
    test_wait(t, end.calls);
    afork_process_unref(process);
}

/* ---- time ---- */

/* A timer under test: armed again, with 0, in its callback. */
struct rearmed {
    struct test *t;
    struct afork_timer *timer;
    uv_check_t check;
    unsigned turn, calls, turns[4]; /* the turn of each call */
};

static void on_check(uv_check_t *check)
{
    struct rearmed *r = check->data;

    r->turn++;
}

static void on_timer(void *data)
{
    struct rearmed *r = data;

    r->turns[r->calls++] = r->turn;
    if (r->calls < G_N_ELEMENTS(r->turns))
        r->t->loop->ops->timer_set(r->timer, 0);
    else
        uv_stop(uv_call_loop(r->t));
}

/* Also in the turn in which it expired; uv_run() has an order of its own where it goes on. */
static void rearmed_timer_comes_once_a_turn(struct test *t)
{
    struct rearmed r = {.t = t, .check.data = &r};

    test_ok(t->loop->ops->timer_new(t->loop, on_timer, &r, &r.timer));
    uv_check_init(uv_call_loop(t), &r.check);
    uv_check_start(&r.check, on_check);
    t->loop->ops->timer_set(r.timer, 5000);
    uv_run(uv_call_loop(t), UV_RUN_DEFAULT);
    g_assert_cmpuint(r.calls, ==, G_N_ELEMENTS(r.turns));
    for (size_t i = 1; i < G_N_ELEMENTS(r.turns); i++)
        g_assert_cmpuint(r.turns[i], ==, r.turns[i - 1] + 1);
    t->loop->ops->timer_free(r.timer);
    uv_close((uv_handle_t *)&r.check, NULL);
    t->type->turn(t->loop_self, 0);
}

/* 0 with an allocator that keeps no count, a sanitizer's for example, which sees leaks itself. */
static size_t memory_in_use(void)
{
#ifdef __GLIBC_PREREQ
#if __GLIBC_PREREQ(2, 33)
    return mallinfo2().uordblks;
#endif
#endif
    return 0;
}

static void start_and_close(struct test *t, struct uv_call *call, int n)
{
    while (n--) {
        struct afork_process *process = test_new(t);
        memset(call, 0, sizeof *call);
        uv_call_start(call, process, "echo");
        afork_process_close(process);
        afork_process_unref(process);
        uv_call_finish(t, call);
    }
}

/* Nobody tells that the callback of a closed process will not come. */
static void closed_processes_leave_no_memory(struct test *t)
{
    struct uv_call call;

    start_and_close(t, &call, 300);
    size_t before = memory_in_use();
    start_and_close(t, &call, 1000);
    test_wait(t, memory_in_use() < before + (200 << 10)); /* as their servers end */
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        test_func *func;
    } cases[] = {
        {"/uv/channel/is-a-pipe", channel_is_a_pipe},
        {"/uv/channel/many-at-once", many_at_once},
        {"/uv/channel/of-the-tests", channel_of_the_tests},
        {"/uv/failure/has-a-name", failures_have_names},
        {"/uv/failure/misuse", misuse_leaves_the_pipe_alone},
        {"/uv/failure/opened-by-the-user", opened_by_the_user},
        {"/uv/close/any-order", closed_in_any_order},
        {"/uv/close/pipe-before-process", pipe_may_go_before_the_process},
        {"/uv/close/leaves-no-memory", closed_processes_leave_no_memory},
        {"/uv/timer/once-a-turn", rearmed_timer_comes_once_a_turn},
    };

    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
        test_add_for(&test_loop_uv, cases[i].path, cases[i].func);
    return g_test_run();
}
