/* SPDX-License-Identifier: MIT
 *
 * Calls at their edges inside the core: what a release does to others, and ends that nobody was
 * told yet.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pool.h"
#include "rpc.h"
#include "test-pool-lib.h"

enum { MILLISECOND = 1000, BIG = 4 * 1024 * 1024 };

/* ---- What a release does ---- */

static struct afork_rpc *to_close;
static unsigned n_released;

static void close_rpc(void *data)
{
    (void)data;
    n_released++;
    afork_rpc_close(to_close);
    afork_rpc_unref(to_close);
}

/* The data of a call that was given up are released when the channel ends, and what releases them
 * closes it. */
static void release_closes(struct test *t)
{
    static char big[BIG];
    test_end_auto end = {0};
    test_reply_auto reply = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_process *process = test_rpc_process(
        t, "no warnings; $SIG{USR1} = sub { $main::go = 1 };"
           "*AFork::RPC::Sync::run = sub { select undef, undef, undef, .01 until $main::go;"
           "  close $_[0]; sleep 1000 }");
    struct afork_call *call;

    n_released = 0;
    test_ok(afork_rpc_new(process, "f", &options, &to_close));
    test_ok(afork_rpc_call_take(to_close, big, BIG, close_rpc, big, NULL, test_on_reply, &reply,
                                &call));
    test_wait(t, to_close->state == AFORK__RPC_OPEN && to_close->writing);
    test_ok(afork_call_cancel(call, AFORK_CANCEL_ABANDON));
    test_wait(t, reply.calls);
    g_assert_cmpuint(n_released, ==, 0);
    test_ok(kill(afork_process_peer_pid(process), SIGUSR1));
    test_wait(t, n_released);
    test_turn_for(t, 1200 * MILLISECOND);
    g_assert_cmpuint(n_released, ==, 1);
    g_assert_cmpuint(end.calls, ==, 0);
    test_ok(afork_process_kill(process, SIGKILL));
    afork_process_unref(process);
}

/* The kernel has no room for a moment: what is sent then is released by nobody but a time. */
static int sending_error, sending_fd;
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    if (!sending_error || fd != sending_fd)
        return __real_sendmsg(fd, message, flags);
    errno = sending_error;
    return -1;
}

static void release_closes_after_retry(struct test *t)
{
    static const int errors[] = {ENOBUFS, ENOMEM, ETOOMANYREFS};
    static char big[BIG / 16];

    for (size_t i = 0; i < G_N_ELEMENTS(errors); i++) {
        test_end_auto end = {0};
        test_reply_auto first = {0}, reply = {0};
        struct afork_rpc_options options = test_rpc_options(&end);
        struct afork_process *process = test_rpc_process(t, test_holding);
        struct afork_call *call;
        n_released = 0;
        test_ok(afork_rpc_new(process, "f", &options, &to_close));
        test_wait(t, to_close->begun);
        test_call(to_close, &first, "nap", NULL);
        test_ok(afork_rpc_call_take(to_close, big, sizeof big, close_rpc, big, NULL, test_on_reply,
                                    &reply, &call));
        test_wait(t, to_close->writing);
        test_ok(kill(afork_process_peer_pid(process), SIGUSR1));
        sending_fd = to_close->fd;
        sending_error = errors[i];
        test_wait(t, to_close->wait.set);
        sending_error = 0;
        test_ok(afork_call_cancel(call, AFORK_CANCEL_ABANDON));
        test_wait(t, reply.calls);
        test_wait(t, n_released);
        test_turn_for(t, 40 * MILLISECOND);
        g_assert_cmpuint(n_released, ==, 1);
        afork_process_kill(process, SIGKILL); /* it may have ended at the end of file */
        afork_process_unref(process);
    }
}

static struct afork_call *to_cancel;

static void cancel_in_release(void *data)
{
    (void)data;
    n_released++;
    test_ok(afork_call_cancel(to_cancel, AFORK_CANCEL_ABANDON));
}

/* What one write ends and what it sends besides is noted before anybody is called back. */
static void release_cancels(struct test *t)
{
    static char big[BIG / 16];
    test_end_auto end = {0};
    test_reply_auto first = {0}, reply = {0}, second = {0}, third = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_call_options none = AFORK_CALL_OPTIONS_INIT;
    struct afork_rpc *rpc = test_rpc(t, test_holding, "f", &options);
    struct afork_call *call;

    n_released = 0;
    test_wait(t, rpc->begun);
    test_call(rpc, &first, "nap", NULL);
    test_ok(afork_rpc_call_take(rpc, big, sizeof big, cancel_in_release, big, NULL, test_on_reply,
                                &reply, &call));
    test_ok(test_call_full(rpc, &second, &none, (const char *[]){"good", NULL}, &to_cancel));
    test_call(rpc, &third, "good", NULL);
    test_wait(t, rpc->writing);
    test_ok(afork_call_cancel(call, AFORK_CANCEL_ABANDON));
    test_wait(t, reply.calls);
    g_assert_cmpuint(n_released, ==, 0);
    test_ok(kill(afork_process_peer_pid(rpc->process), SIGUSR1));
    test_wait(t, second.calls && third.calls);
    g_assert_cmpuint(n_released, ==, 1);
    g_assert_cmpint(second.error, ==, -ECANCELED);
    test_ok(third.error);
    test_finish(t, rpc, &end);
    test_ok(end.error);
}

/* An rpc that is closed when its worker has entered the back end, which nobody was told yet. */
static void close_before_it_is_told(struct test *t)
{
    struct test_exit end = {0};
    struct afork_process *process = test_rpc_process(t, NULL);
    struct pollfd report = {.fd = t->context->status_fd, .events = POLLIN};
    struct afork_rpc *rpc;

    unsigned n_fds = test_count_fds();
    test_ok(afork_rpc_new(process, "echo", NULL, &rpc));
    while (process->run != AFORK__RUN_READY) {
        g_assert_cmpint(poll(&report, 1, 20 * MILLISECOND), ==, 1); /* at most 20 s */
        afork__monitor_drain(t->context);                           /* the loop would tell */
    }
    afork_rpc_close(rpc);
    afork_rpc_unref(rpc);
    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    test_wait(t, end.calls);
    g_assert_cmpint(end.status, ==, 0);
    afork_process_unref(process);
    g_assert_cmpuint(test_count_fds(), <=, n_fds); /* its socket, but for what times need */
}

/* ---- Pools ---- */

static struct test_pool *pool_to_close;

static void close_pool(void *data)
{
    (void)data;
    n_released++;
    afork_pool_close(pool_to_close->pool);
    afork_pool_unref(pool_to_close->pool);
}

/* Workers that cannot be killed are closed, and what that releases closes the pool. */
static void cancel_closes(struct test *t)
{
    static char big[BIG];
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    test_reply_auto first = {0}, second = {0}, third = {0};
    struct afork_call *call;

    options.max = options.load = options.idle = 2;
    n_released = 0;
    pool_to_close = &pool;
    test_pool_new(t, &pool,
                  "sub doze { my ($parent, $n) = (getppid, 0);"
                  "  select undef, undef, undef, .01 while getppid == $parent && ++$n < 300 }",
                  "doze", &options);
    test_wait(t, pool.starts == 2);
    test_ok(test_pool_call(&pool, &first, NULL, NULL, NULL, NULL));
    test_ok(test_pool_call(&pool, &second, NULL, NULL, NULL, NULL));
    test_ok(afork_pool_call_take(pool.pool, big, BIG, close_pool, big, NULL, test_on_reply, &third,
                                 &call));
    test_wait(t, call->writing);
    test_ok(afork_call_cancel(call, AFORK_CANCEL_ABANDON));
    test_wait(t, third.calls);
    afork_pool_cancel(pool.pool);
    g_assert_cmpuint(n_released, ==, 0); /* nothing of the user's is called inside */
    test_wait(t, n_released);
    test_turn_for(t, 20 * MILLISECOND);
    g_assert_cmpuint(first.calls + second.calls, ==, 2);
    g_assert_cmpuint(pool.destroys, ==, 0);
    g_assert_cmpuint(first.released + second.released, ==, 2);
}

/* The end of a pool that was cancelled is told before the loop ends by itself. */
static void cancel_keeps_alive(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);

    options.idle = 2;
    test_pool_new(t, &pool, NULL, "act", &options);
    test_wait(t, pool.starts == 2);
    test_ok(afork_poll_run(t->loop_self));
    afork_pool_cancel(pool.pool);
    test_ok(afork_poll_run(t->loop_self));
    g_assert_cmpuint(pool.exits, ==, 2);
    g_assert_cmpuint(pool.destroys, ==, 1);
    afork_pool_unref(pool.pool);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        test_func *func;
    } cases[] = {
        {"/call-edges/release-closes", release_closes},
        {"/call-edges/release-closes/retry", release_closes_after_retry},
        {"/call-edges/release-cancels", release_cancels},
        {"/call-edges/close", close_before_it_is_told},
        {"/call-edges/keep-alive", cancel_keeps_alive},
    };

    g_test_init(&argc, &argv, NULL);
    test_perl_add_peer("afork-perl-as-original", "/call-edges/others/cancel", cancel_closes);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
        test_perl_add(cases[i].path, cases[i].func);
    return g_test_run();
}
