/* SPDX-License-Identifier: MIT
 *
 * Calls at their edges: what callbacks do to others, what ends while a callback turns the loop,
 * times that never come.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pool.h"
#include "rpc.h"
#include "test-pool-lib.h"
#include "util.h"

enum { MILLISECOND = 1000, BIG = 4 * 1024 * 1024 };

static const char *const one[] = {"pid", NULL};

/* A back end that does what a call's only string says, and then claims to hold answers. */
static const char holding[] =
    "no warnings; sub frame { my $p = pop; pack('CCnNN', @_, length $p) . $p }"
    "sub get { my ($fh, $n) = @_; my $b = '';"
    "  while (length $b < $n) { my $got = sysread $fh, $b, $n - length $b, length $b;"
    "    exit 0 if defined $got ? !$got : $! != 4 } $b }" /* not if a signal came */
    "$SIG{USR1} = sub { $main::go = 1 };"
    "sub nap { select undef, undef, undef, .01 }"
    "*AFork::RPC::Sync::run = sub { my $fh = shift; syswrite $fh, frame(2, 0, 0, 1, qq(\\5afork));"
    "  while (1) { my ($kind, $fds, $flags, $id, $len) = unpack 'CCnNN', get($fh, 12);"
    "    my $what = substr get($fh, $len), 1, 4;"
    "    if ($what eq 'wait') { nap() until $main::go; exit 3 }"
    "    if ($what eq 'nap') { nap() until $main::go }"
    "    if ($what eq 'hang') { nap() while 1 }"
    "    syswrite $fh, frame(3, 0, 1, $id, '') } }";

/* ---- What one callback does to other calls ---- */

struct canceller {
    struct afork_call *call;
    unsigned calls;
};

static void cancel_other(const struct afork_reply *reply, void *data)
{
    struct canceller *canceller = data;

    (void)reply;
    canceller->calls++;
    if (canceller->call)
        test_ok(afork_call_cancel(canceller->call, AFORK_CANCEL_ABANDON));
}

static void unref_at_end(struct afork_rpc *rpc, int error, const char *message,
                         const struct afork_exit *exit, void *data)
{
    (void)error, (void)message, (void)exit;
    ++*(unsigned *)data;
    afork_rpc_unref(rpc);
}

/* A call that is cancelled while all are told of the worker's end. */
static void cancel_while_all_fail(struct test *t)
{
    struct canceller canceller = {0};
    test_reply_auto reply = {0};
    struct afork_rpc_options options = AFORK_RPC_OPTIONS_INIT;
    struct afork_call_options none = AFORK_CALL_OPTIONS_INIT;
    struct iovec strings[] = {{(void *)"exit", 4}, {(void *)"3", 1}};
    unsigned ends = 0;

    options.on_end = unref_at_end;
    options.data = &ends;
    struct afork_rpc *rpc = test_rpc(t, NULL, "act", &options);
    test_ok(afork_rpc_call_strings(rpc, strings, 2, NULL, cancel_other, &canceller, NULL));
    test_ok(test_call_full(rpc, &reply, &none, one, &canceller.call));
    test_wait(t, ends);
    g_assert_cmpint(reply.error, ==, -ECANCELED);
    test_turn_for(t, 20 * MILLISECOND);
}

/* ---- The pool's ---- */

static struct afork_rpc *worker_rpc(struct test_pool *pool)
{
    struct afork__worker *worker = TAILQ_FIRST(&pool->pool->workers);

    return worker ? worker->rpc : NULL;
}

/* The same in a pool, whose worker may have begun several. */
static void cancel_while_a_pool_loses(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct afork_call_options timed = AFORK_CALL_OPTIONS_INIT;
    struct canceller canceller = {0};
    test_reply_auto first = {0}, begun = {0}, other = {0};
    g_autofree char *big = g_malloc0(BIG);
    pid_t pid;

    options.max = 1;
    options.load = 4;
    timed.run_timeout = INT64_C(60000000);
    test_pool_new(t, &pool, holding, "f", &options);
    test_ok(test_pool_call(&pool, &first, "good", NULL, &timed, NULL));
    test_wait(t, !pool.open);
    test_ok(test_pool_call(&pool, &begun, "wait", NULL, NULL, NULL));
    test_ok(afork_pool_call(pool.pool, big, BIG, NULL, cancel_other, &canceller, NULL));
    test_ok(test_pool_call(&pool, &other, "good", NULL, NULL, &canceller.call));
    test_wait(t, worker_rpc(&pool)->writing);
    g_autoptr(GArray) pids = test_pool_pids(&pool);
    pid = g_array_index(pids, pid_t, 0);
    test_ok(kill(pid, SIGUSR1));
    test_wait(t, !pool.open && canceller.calls);
    g_assert_cmpint(begun.error, ==, -ECONNRESET);
    g_assert_cmpint(other.error, ==, -ECANCELED);
    test_pool_finish(&pool);
}

/* ---- What a release does ---- */

static struct afork_rpc *to_close;
static unsigned n_released;

static void count_released(void *data)
{
    (void)data;
    n_released++;
}

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
        struct afork_process *process = test_rpc_process(t, holding);
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
    struct afork_rpc *rpc = test_rpc(t, holding, "f", &options);
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
    struct afork_rpc *rpc;
    gint64 deadline = test_deadline_new();

    unsigned n_fds = test_count_fds();
    test_ok(afork_rpc_new(process, "echo", NULL, &rpc));
    while (process->run != AFORK__RUN_READY) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_usleep(1000);
        afork__monitor_drain(t->context); /* the loop would tell */
    }
    afork_rpc_close(rpc);
    afork_rpc_unref(rpc);
    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    test_wait(t, end.calls);
    g_assert_cmpint(end.status, ==, 0);
    afork_process_unref(process);
    g_assert_cmpuint(test_count_fds(), <=, n_fds); /* its socket, but for what times need */
}

/* ---- Callbacks that turn the loop ---- */

struct turner {
    struct test *t;
    const unsigned *until; /* something else that is to happen */
    struct afork_rpc *rpc; /* or its process is to end */
    unsigned calls;
    int error;
};

static void turn_until(const struct afork_reply *reply, void *data)
{
    struct turner *turner = data;

    turner->error = reply->error;
    if (turner->until)
        test_wait(turner->t, *turner->until);
    if (turner->rpc) {
        test_wait(turner->t, turner->rpc->process->ended);
        test_turn_for(turner->t, 20 * MILLISECOND);
    }
    turner->calls++;
}

/* A worker that has answered all has not failed, whoever looks when. */
static void end_while_turning(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto reply = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct turner turner = {.t = t};

    turner.rpc = test_rpc(t, NULL, "act", &options);
    test_ok(afork_rpc_call(turner.rpc, "\3pid", 4, NULL, turn_until, &turner, NULL));
    test_call(turner.rpc, &reply, "pid", NULL);
    afork_rpc_unref(turner.rpc);
    test_wait(t, end.calls);
    g_assert_cmpuint(turner.calls, ==, 1);
    test_ok(turner.error);
    test_ok(reply.error);
    test_ok(end.error);
}

/* What is completed and half written is needed until its callback has returned. */
static void end_of_writing_while_turning(struct test *t)
{
    static char big[BIG];
    test_end_auto end = {0};
    test_reply_auto reply = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct turner turner = {.t = t};
    struct afork_call_options with_release = AFORK_CALL_OPTIONS_INIT;
    struct afork_call *call;

    with_release.release = count_released;
    n_released = 0;
    turner.rpc = test_rpc(t, NULL, "act", &options);
    test_call(turner.rpc, &reply, "sleep", NULL);
    test_ok(afork_rpc_call(turner.rpc, big, BIG, &with_release, turn_until, &turner, &call));
    test_wait(t, turner.rpc->writing);
    test_ok(afork_call_cancel(call, AFORK_CANCEL_ABANDON));
    test_ok(afork_process_kill(turner.rpc->process, SIGKILL));
    test_wait(t, end.calls && turner.calls);
    g_assert_cmpuint(n_released, ==, 1);
    g_assert_cmpint(turner.error, ==, -ECANCELED);
    afork_rpc_unref(turner.rpc);
}

/* Calls that are due at the same turn. */
static void cancelled_while_turning(struct test *t)
{
    for (int same = 0; same < 2; same++) {
        test_end_auto end = {0}, other_end = {0};
        test_reply_auto reply = {0};
        struct afork_rpc_options options = test_rpc_options(&end);
        struct afork_rpc_options other_options = test_rpc_options(&other_end);
        struct afork_call_options none = AFORK_CALL_OPTIONS_INIT;
        struct turner turner = {.t = t, .until = &reply.calls};
        struct afork_rpc *rpc = test_rpc(t, NULL, "act", &options);
        struct afork_rpc *other = test_rpc(t, NULL, "act", &other_options);
        struct afork_call *first, *second;
        test_ok(afork_rpc_call(rpc, "\3pid", 4, NULL, turn_until, &turner, &first));
        test_ok(test_call_full(same ? rpc : other, &reply, &none, one, &second));
        test_ok(afork_call_cancel(first, AFORK_CANCEL_ABANDON));
        test_ok(afork_call_cancel(second, AFORK_CANCEL_ABANDON));
        test_wait(t, turner.calls);
        g_assert_cmpint(reply.error, ==, -ECANCELED);
        test_finish(t, rpc, &end);
        test_finish(t, other, &other_end);
    }
}

/* What is cancelled is not completed until that was told. */
static void due_calls_are_pending(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto reply = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_call_options none = AFORK_CALL_OPTIONS_INIT;
    struct afork_rpc *rpc = test_rpc(t, NULL, "act", &options);
    struct afork_call *call;

    test_ok(test_call_full(rpc, &reply, &none, one, &call));
    test_ok(afork_call_cancel(call, AFORK_CANCEL_ABANDON));
    g_assert_cmpuint(afork_rpc_get_pending(rpc), ==, 1);
    test_wait(t, reply.calls);
    g_assert_cmpuint(afork_rpc_get_pending(rpc), ==, 0);
    test_finish(t, rpc, &end);
}

static void turn_at_end(struct afork_rpc *rpc, int error, const char *message,
                        const struct afork_exit *exit, void *data)
{
    struct turner *turner = data;

    (void)rpc, (void)error, (void)message, (void)exit;
    test_wait(turner->t, *turner->until);
    turner->calls++;
}

/* A time that comes in a callback that another time brought. */
static void time_while_turning(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto reply = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_rpc_options closing = AFORK_RPC_OPTIONS_INIT;
    struct afork_call_options timed = AFORK_CALL_OPTIONS_INIT;
    struct turner turner = {.t = t, .until = &reply.calls};
    struct afork_process *process = test_rpc_process(
        t, "no warnings; *AFork::RPC::Sync::run = sub { close $_[0]; sleep 1000 }");
    struct afork_rpc *rpc, *other = test_rpc(t, NULL, "act", &options);

    closing.on_end = turn_at_end;
    closing.data = &turner;
    test_ok(afork_rpc_new(process, "f", &closing, &rpc));
    timed.timeout = 1500 * MILLISECOND;
    test_wait(t, rpc->state == AFORK__RPC_CLOSED);
    test_ok(test_call_full(other, &reply, &timed, (const char *[]){"sleep", NULL}, NULL));
    test_wait(t, turner.calls);
    g_assert_cmpint(reply.error, ==, -ETIMEDOUT);
    test_ok(afork_process_kill(process, SIGKILL));
    afork_process_unref(process);
    afork_rpc_unref(rpc);
    test_ok(afork_process_kill(other->process, SIGKILL));
    test_finish(t, other, &end);
}

/* ---- Times ---- */

/* What is too far away to be told never comes. */
static void endless_times(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct afork_call_options timed = AFORK_CALL_OPTIONS_INIT;
    struct test_reply replies[4] = {0};

    options.max = 2;
    options.load = 1;
    options.start = options.stop = options.retire_age = INT64_MAX;
    timed.timeout = timed.run_timeout = INT64_MAX;
    test_pool_new(t, &pool, NULL, "act", &options);
    for (size_t i = 0; i < G_N_ELEMENTS(replies); i++)
        test_ok(test_pool_call(&pool, &replies[i], "pid", NULL, &timed, NULL));
    test_wait(t, !pool.open);
    for (size_t i = 0; i < G_N_ELEMENTS(replies); i++)
        test_ok(replies[i].error);
    g_assert_cmpuint(test_pool_stats(&pool).started, ==, 1);
    test_turn_for(t, 20 * MILLISECOND);
    test_assert_idle(t, 200 * MILLISECOND);
    g_assert_cmpuint(test_pool_stats(&pool).workers, ==, 1);
    test_pool_finish(&pool);
    for (size_t i = 0; i < G_N_ELEMENTS(replies); i++)
        test_reply_clear(&replies[i]);
}

/* ---- Pools ---- */

/* Descriptors go with a call that is given to another worker. */
static void descriptors_are_tried_again(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct afork_call_options call = AFORK_CALL_OPTIONS_INIT;
    test_reply_auto ends = {0}, waits = {0}, again = {0};
    int fds[2];

    options.max = 1;
    options.load = 4;
    options.crash = AFORK_CRASH_RETRY_ONCE;
    test_pool_new(t, &pool,
                  "sub f { my ($what, $fh) = @_; select undef, undef, undef, .1;"
                  "  if ($what eq 'exit' && sysread $fh, my $octet, 1) { exit 3 } fileno $fh }",
                  "f", &options);
    test_ok(pipe2(fds, O_CLOEXEC));
    call.fds = fds;
    call.n_fds = 1;
    g_assert_cmpint(write(fds[1], "x", 1), ==, 1);
    test_ok(test_pool_call(&pool, &ends, "exit", NULL, &call, NULL));
    test_ok(test_pool_call(&pool, &waits, "a", NULL, &call, NULL));
    test_ok(test_pool_call(&pool, &again, "b", NULL, &call, NULL));
    close(fds[0]);
    close(fds[1]);
    test_wait(t, !pool.open);
    test_ok(ends.error);
    test_ok(waits.error);
    test_ok(again.error);
    g_assert_cmpuint(test_pool_stats(&pool).crashed, ==, 1);
    test_pool_finish(&pool);
}

/* A call that has a time limit is alone to blame when that is over. */
static void others_are_not_to_blame(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct afork_call_options timed = AFORK_CALL_OPTIONS_INIT;
    test_reply_auto first = {0}, hangs = {0}, second = {0}, third = {0};

    options.max = 1;
    options.load = 4;
    timed.run_timeout = 100 * MILLISECOND;
    test_pool_new(t, &pool, holding, "f", &options);
    test_ok(test_pool_call(&pool, &first, "good", NULL, NULL, NULL));
    test_wait(t, !pool.open);
    g_assert_true(worker_rpc(&pool)->holding);
    test_ok(test_pool_call(&pool, &hangs, "hang", NULL, &timed, NULL));
    test_ok(test_pool_call(&pool, &second, "good", NULL, NULL, NULL));
    test_ok(test_pool_call(&pool, &third, "good", NULL, NULL, NULL));
    test_wait(t, !pool.open);
    g_assert_cmpint(hangs.error, ==, -ETIMEDOUT);
    test_ok(second.error);
    test_ok(third.error);
    test_pool_finish(&pool);
}

/* A pool that is over as soon as the last of several cancelled calls is told of. */
static void cancelled_calls_are_the_last(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct test_reply replies[3] = {0};
    struct afork_call *calls[3];

    options.max = options.load = 1;
    options.queue_max = 2;
    test_pool_new(t, &pool, NULL, "act", &options);
    test_ok(test_pool_call(&pool, &replies[0], "sleep", NULL, NULL, &calls[0]));
    test_wait(t, calls[0]->state == AFORK__CALL_SENT);
    test_ok(test_pool_call(&pool, &replies[1], "pid", NULL, NULL, &calls[1]));
    test_ok(test_pool_call(&pool, &replies[2], "pid", NULL, NULL, &calls[2]));
    g_assert_cmpint(test_pool_call(&pool, NULL, "pid", NULL, NULL, NULL), ==, -ENOSPC);
    g_autoptr(GArray) pids = test_pool_pids(&pool);
    for (size_t i = 0; i < G_N_ELEMENTS(calls); i++)
        test_ok(afork_call_cancel(calls[i], AFORK_CANCEL_ABANDON));
    test_pool_finish(&pool);
    test_turn_for(t, 20 * MILLISECOND);
    g_assert_cmpint(replies[2].error, ==, -ECANCELED);
    kill(g_array_index(pids, pid_t, 0), SIGKILL);
    for (size_t i = 0; i < G_N_ELEMENTS(replies); i++)
        test_reply_clear(&replies[i]);
}

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
    g_assert_cmpuint(n_released, ==, 1);
    test_turn_for(t, 20 * MILLISECOND);
    g_assert_cmpuint(first.calls + second.calls + pool.destroys, ==, 0);
    g_assert_cmpuint(first.released + second.released, ==, 2);
}

/* To where no descriptor can be sent, none is taken. */
static void no_descriptors_for_others(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct afork_call_options call = AFORK_CALL_OPTIONS_INIT;
    test_reply_auto reply = {0};
    int fd = STDIN_FILENO;

    call.fds = &fd;
    call.n_fds = 1;
    test_pool_new(t, &pool, NULL, "act", &options);
    g_assert_cmpint(test_pool_call(&pool, &reply, "pid", NULL, &call, NULL), ==, -ENOTSUP);
    test_pool_finish(&pool);
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

/* After a failure one worker at a time is tried, also where each is for one call. */
static void failures_one_at_a_time(struct test *t)
{
    for (int single = 0; single < 2; single++) {
        struct test_pool pool = {0};
        struct afork_pool_options options = test_pool_options(&pool);
        test_many_auto many;
        t->options.standard_error.mode = AFORK_STDIO_NULL;
        test_many_init(&many, 8);
        options.max = 4;
        options.max_failures = 3;
        options.single_call = single;
        options.load = 1;
        options.start = -1;
        options.rpc.init = "bad";
        test_pool_new(t, &pool, "sub bad { die }", "act", &options);
        for (int i = 0; i < 8; i++)
            test_ok(test_many_call(&pool, &many, "pid", NULL, NULL, NULL));
        test_wait(t, !pool.open);
        g_assert_cmpuint(many.bad[ENOEXEC], ==, 8);
        g_assert_cmpuint(test_pool_stats(&pool).started, ==, 4 + 2);
        test_pool_finish(&pool);
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        test_func *func;
    } cases[] = {
        {"/call-edges/cancel/all-fail", cancel_while_all_fail},
        {"/call-edges/cancel/pool-loses", cancel_while_a_pool_loses},
        {"/call-edges/cancel/last", cancelled_calls_are_the_last},
        {"/call-edges/release-closes", release_closes},
        {"/call-edges/release-closes/retry", release_closes_after_retry},
        {"/call-edges/release-cancels", release_cancels},
        {"/call-edges/close", close_before_it_is_told},
        {"/call-edges/turning/end", end_while_turning},
        {"/call-edges/turning/writing", end_of_writing_while_turning},
        {"/call-edges/turning/cancelled", cancelled_while_turning},
        {"/call-edges/pending", due_calls_are_pending},
        {"/call-edges/turning/time", time_while_turning},
        {"/call-edges/endless-times", endless_times},
        {"/call-edges/descriptors/again", descriptors_are_tried_again},
        {"/call-edges/blame", others_are_not_to_blame},
        {"/call-edges/keep-alive", cancel_keeps_alive},
        {"/call-edges/one-at-a-time", failures_one_at_a_time},
    };

    g_test_init(&argc, &argv, NULL);
    test_perl_add_peer("afork-perl-as-original", "/call-edges/others/cancel", cancel_closes);
    test_perl_add_peer("afork-perl-as-original", "/call-edges/others/descriptors",
                       no_descriptors_for_others);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
        test_perl_add(cases[i].path, cases[i].func);
    return g_test_run();
}
