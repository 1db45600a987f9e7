/* SPDX-License-Identifier: MIT
 *
 * Pools under load whose workers, templates and hosts are killed at random, while calls are
 * made, cancelled, moved and late, and sizes change. Every call that was accepted completes
 * once; nothing is left. A run can be repeated with --seed; what it was is printed first.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test-pool-lib.h"

enum {
    CALLS_MOST = 20000,
    OPEN_MOST = 300,
    WORKERS_MOST = 4,
    ROUNDS = 3,        /* for each kind of loop */
    USEC = 500 * 1000, /* for each round */
};

static const char code[] =
    "sub work { my ($what, $n) = @_;"
    "  if ($what eq 'nap') { select undef, undef, undef, $n / 1000 }"
    "  elsif ($what eq 'exit') { CORE::exit($n) } elsif ($what eq 'kill') { kill KILL => $$ }"
    "  elsif ($what eq 'die') { die qq($n\\n) } elsif ($what eq 'retire') { AFork::Pool::retire() }"
    "  elsif ($what eq 'event') { AFork::RPC::event($n) }"
    "  elsif ($what eq 'garble') { for (3 .. 20) { open my $fh, '+<&=', $_ or next;"
    "    syswrite $fh, 'garbage' x 100 if -S $fh } }"
    "  $n }";

struct chaos {
    struct test_pool pool;
    struct chaos_call {
        struct afork_call *handle; /* NULL: it is completed */
        unsigned completed, released;
    } * calls;
    unsigned n;
};

static int random_below(int n)
{
    return g_test_rand_int_range(0, n);
}

/* Which call it was is told by the address. */
static void on_reply(const struct afork_reply *reply, void *data)
{
    struct chaos_call *call = data;

    g_assert_cmpuint(call->completed++, ==, 0);
    g_assert_cmpuint(call->released, ==, 0);
    g_assert_nonnull(reply->message);
    call->handle = NULL;
}

static void on_release(void *data)
{
    struct chaos_call *call = data;

    g_assert_cmpuint(call->released++, ==, 0);
}

static void add_call(struct chaos *chaos)
{
    static const char *const acts[] = {"nap", "nap",  "nap",    "nap",  "nap",    "nap", "event",
                                       "die", "exit", "retire", "kill", "garble", "nap", "nap"};
    struct afork_call_options options = AFORK_CALL_OPTIONS_INIT;
    struct chaos_call *call = &chaos->calls[chaos->n];
    const char *act = acts[random_below(50) ? random_below(8) : random_below(G_N_ELEMENTS(acts))];
    g_autofree char *number = g_strdup_printf("%d", random_below(4));
    struct iovec strings[] = {{(void *)act, strlen(act)}, {number, strlen(number)}};

    if (chaos->n == CALLS_MOST)
        return;
    options.priority = random_below(64) + AFORK_PRIORITY_MIN;
    options.timeout = random_below(10) ? 0 : 1 + random_below(20000);
    options.run_timeout = random_below(10) ? 0 : 1 + random_below(5000);
    options.release = on_release;
    int result = afork_pool_call_strings(chaos->pool.pool, strings, 2, &options, on_reply, call,
                                         &call->handle);
    g_assert_true(!result || result == -EIO || result == -ENOSPC);
    if (result == -EIO)
        test_ok(afork_pool_reset(chaos->pool.pool));
    chaos->n += !result;
}

static unsigned count_open(const struct chaos *chaos)
{
    unsigned n = 0;

    for (unsigned i = 0; i < chaos->n; i++)
        n += !chaos->calls[i].completed;
    return n;
}

static pid_t parent_of(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", pid);
    g_autofree char *text = NULL;
    int parent = 0;

    if (g_file_get_contents(path, &text, NULL, NULL))
        sscanf(strrchr(text, ')'), ") %*c %d", &parent);
    return parent;
}

/* One of the workers, or what it was forked from, but never what is not the pool's. */
static void kill_some(struct chaos *chaos, pid_t root)
{
    g_autoptr(GArray) pids = test_pool_pids(&chaos->pool);

    if (!pids->len)
        return;
    pid_t pid = g_array_index(pids, pid_t, (guint)random_below((int)pids->len));
    pid_t template = parent_of(pid);
    if (random_below(4))
        kill(pid, SIGKILL);
    else if (template > 1 && template != root && template != getpid() &&
             parent_of(template) == root)
        kill(template, SIGKILL);
}

static void act(struct chaos *chaos, pid_t root)
{
    struct afork_pool *pool = chaos->pool.pool;
    struct chaos_call *call = chaos->n ? &chaos->calls[random_below((int)chaos->n)] : NULL;

    if (call && chaos->n > 50 && random_below(2))
        call = &chaos->calls[chaos->n - 1 - (unsigned)random_below(50)];
    switch (random_below(12)) {
    case 0:
        if (call && call->handle)
            afork_call_cancel(call->handle, (enum afork_cancel)random_below(3));
        break;
    case 2:
        if (call && call->handle)
            afork_call_set_priority(call->handle, random_below(64) + AFORK_PRIORITY_MIN);
        break;
    case 3:
        if (!random_below(10))
            test_ok(afork_pool_retire(pool));
        break;
    case 4:
        if (!random_below(3)) {
            unsigned max = 1 + (unsigned)random_below(WORKERS_MOST);
            test_ok(afork_pool_set_size(pool, max, (unsigned)random_below((int)max + 1),
                                        1 + (unsigned)random_below(8)));
        }
        break;
    case 5:
        if (!random_below(40))
            kill_some(chaos, root);
        break;
    default:
        if (count_open(chaos) < OPEN_MOST)
            add_call(chaos);
    }
}

static struct afork_pool_options random_options(struct test_pool *pool)
{
    struct afork_pool_options options = test_pool_options(pool);

    options.max = WORKERS_MOST;
    options.start = random_below(2) ? -1 : 1000;
    options.stop = random_below(2) ? 1000 : 0;
    options.crash = random_below(2) ? AFORK_CRASH_FAIL : AFORK_CRASH_RETRY_ONCE;
    options.retire_calls = random_below(2) ? 0 : 20;
    options.retire_age = random_below(2) ? 0 : 200 * 1000;
    options.retire_memory = random_below(2) ? 0 : 1 << 20;
    options.queue_max = random_below(2) ? 0 : 100;
    options.single_call = !random_below(4);
    options.max_failures = 3;
    return options;
}

static void run(struct test *t, struct chaos *chaos, gint64 end)
{
    struct afork_pool_options options = random_options(&chaos->pool);
    struct afork_process *process = test_rpc_process(t, code);

    test_ok(afork_pool_new(process, "work", &options, &chaos->pool.pool));
    chaos->pool.t = t;
    while (g_get_monotonic_time() < end) {
        for (int n = random_below(20); n; n--)
            act(chaos, afork_process_peer_pid(process));
        t->type->turn(t->loop_self, random_below(2000));
    }
    afork_process_unref(process);
}

static void check_all(const struct chaos *chaos)
{
    for (unsigned i = 0; i < chaos->n; i++) {
        g_assert_cmpuint(chaos->calls[i].completed, ==, 1);
        g_assert_cmpuint(chaos->calls[i].released, ==, 1);
    }
}

static void everything_is_accounted_for(struct test *t)
{
    t->options.standard_error.mode = AFORK_STDIO_NULL;
    for (int round = 0; round < ROUNDS; round++) {
        struct chaos chaos = {.calls = g_new0(struct chaos_call, CALLS_MOST)};
        run(t, &chaos, g_get_monotonic_time() + USEC);
        struct afork_pool_stats stats = test_pool_stats(&chaos.pool);
        g_assert_cmpuint(stats.started, >, 0);
        g_assert_cmpuint(stats.workers, <=, WORKERS_MOST);
        if (random_below(2))
            afork_pool_cancel(chaos.pool.pool);
        test_pool_finish(&chaos.pool);
        check_all(&chaos);
        g_test_message("%u calls, %" G_GUINT64_FORMAT " workers of which %" G_GUINT64_FORMAT
                       " crashed, %" G_GUINT64_FORMAT " completed, %" G_GUINT64_FORMAT
                       " failed, %" G_GUINT64_FORMAT " retried",
                       chaos.n, stats.started, stats.crashed, stats.completed, stats.failed,
                       stats.retried);
        g_free(chaos.calls);
    }
}

/* A host that is killed leaves nothing: the fixture looks for it. */
static void a_killed_host_leaves_nothing(struct test *t)
{
    for (int i = 0; i < 5; i++) {
        int status, delay = 20 * 1000 + random_below(200 * 1000);
        pid_t host = fork();
        if (!host) {
            struct chaos chaos = {.calls = g_new0(struct chaos_call, CALLS_MOST)};
            t->options.standard_error.mode = AFORK_STDIO_NULL;
            alarm(10); /* should the test be killed */
            t->loop_self = t->type->new ();
            t->loop = t->type->get(t->loop_self);
            run(t, &chaos, g_get_monotonic_time() + 5 * G_USEC_PER_SEC);
            _exit(0);
        }
        g_usleep((gulong)delay); /* whatever it does by then */
        test_ok(kill(host, SIGKILL));
        g_assert_cmpint(waitpid(host, &status, 0), ==, host);
        g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_calls_add("/pool/chaos/account", everything_is_accounted_for);
    test_calls_add("/pool/chaos/host", a_killed_host_leaves_nothing);
    return g_test_run();
}
