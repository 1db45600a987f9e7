/* SPDX-License-Identifier: MIT
 *
 * Remote processes of the GObject layer, under GAforkRpc and GAforkPool.
 */
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gafork-calls.h"

static char **perl_alone(void)
{
    const char *perl = g_getenv("PERL");

    return g_strsplit(perl && *perl ? perl : "perl", " ", -1);
}

static void remote(struct gafork_test *f)
{
    g_auto(GStrv) argv = perl_alone();
    g_autoptr(GError) error = NULL;
    g_autoptr(GAforkRemoteOptions)
        options = g_object_new(GAFORK_TYPE_REMOTE_OPTIONS, "strict", TRUE, "noise-max", 5, NULL);
    g_autoptr(GAforkProcess)
        process = gafork_process_new_remote(f->context, (const char *const *)argv, options, &error);

    g_assert_no_error(error);
    g_assert_true(gafork_process_eval(process, "sub twice { 2 * $_[0] }", NULL, NULL));
    g_autoptr(GAforkPool) pool = gafork_pool_new(process, "twice", NULL, &error);
    g_assert_no_error(error);
    g_autoptr(GAforkRpc) rpc = gafork_rpc_new(process, "twice", NULL, &error);
    g_assert_no_error(error);
    g_autofree char *by_rpc = gafork_call_one(f, rpc, "21");
    g_autofree char *by_pool = gafork_call_one(f, pool, "22");
    g_assert_cmpstr(by_rpc, ==, "42");
    g_assert_cmpstr(by_pool, ==, "44");
}

static void remote_fails(struct gafork_test *f)
{
    const char *const noisy[] = {"sh", "-c", "echo no perl here; cat >/dev/null", NULL};
    g_autoptr(GAforkRemoteOptions) options = g_object_new(
        GAFORK_TYPE_REMOTE_OPTIONS, "noise-max", 8, "start-timeout", (gint64)G_USEC_PER_SEC, NULL);
    g_autoptr(GAforkProcess) process = gafork_process_new_remote(f->context, noisy, options, NULL);
    g_autoptr(GAforkRpc) rpc = gafork_rpc_new(process, "twice", NULL, NULL);
    g_autoptr(GError) error = gafork_call_error(f, rpc, "x");

    g_assert_error(error, GAFORK_ERROR, GAFORK_ERROR_START);
    g_assert_nonnull(strstr(error->message, "no perl"));
}

struct connecting {
    unsigned calls;
    GPid pid;
};

/* A perl with one end of a pair; or none at the second call. */
static GSocket *connect_perl(gpointer data)
{
    struct connecting *c = data;
    g_auto(GStrv) argv = perl_alone();
    int fds[2];

    if (c->calls++)
        return NULL;
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    g_assert_true(g_spawn_async_with_fds(NULL, argv, NULL,
                                         G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD, NULL,
                                         NULL, &c->pid, fds[1], fds[1], -1, NULL));
    close(fds[1]);
    return g_socket_new_from_fd(fds[0], NULL);
}

static void note_destroyed(gpointer data)
{
    struct connecting *c = data;
    int status;

    waitpid(c->pid, &status, 0);
    c->calls += 100;
}

static void connected(struct gafork_test *f)
{
    struct connecting c = {0};
    GAforkProcess *process = gafork_process_new_connected(f->context, connect_perl, &c,
                                                          note_destroyed, NULL, NULL);
    GAforkProcess *copy = gafork_fork(process);

    g_assert_true(gafork_process_eval(process, "sub twice { 2 * $_[0] }", NULL, NULL));
    GAforkRpc *rpc = gafork_rpc_new(process, "twice", NULL, NULL);
    g_autofree char *text = gafork_call_one(f, rpc, "21");
    g_assert_cmpstr(text, ==, "42");
    GAforkRpc *other = gafork_rpc_new(copy, "twice", NULL, NULL);
    g_autoptr(GError) error = gafork_call_error(f, other, "x");
    g_assert_error(error, GAFORK_ERROR, GAFORK_ERROR_START);
    g_object_unref(rpc);
    g_object_unref(other);
    g_object_unref(process);
    g_assert_cmpuint(c.calls, ==, 2);
    g_object_unref(copy);
    gafork_wait(f->main_context, c.calls == 102); /* while the context is there */
}

static void count_released(gpointer data)
{
    unsigned *n = data;

    (*n)++;
}

static GSocket *turn_and_fail(gpointer data)
{
    unsigned *n = data;

    g_main_context_iteration(g_main_context_get_thread_default(), FALSE);
    g_assert_cmpuint(*n, ==, 0);
    return NULL;
}

/* What is needed to connect is there as long as that takes and not longer. */
static void connections_are_released(struct gafork_test *f)
{
    unsigned n = 0;

    for (unsigned i = 1; i <= 100; i++) {
        GAforkProcess *process = gafork_process_new_connected(f->context, turn_and_fail, &n,
                                                              count_released, NULL, NULL);
        if (i % 2) {
            struct gafork_result run = {0};
            gafork_process_run_async(process, "twice", NULL, gafork_on_run, &run);
            gafork_wait(f->main_context, run.calls);
            g_assert_error(run.error, GAFORK_ERROR, GAFORK_ERROR_START);
            gafork_result_clear(&run);
        }
        g_assert_cmpuint(n, ==, 0);
        g_object_unref(process);
        gafork_wait(f->main_context, n == 1);
        n = 0;
    }
}

static void count(unsigned *n)
{
    (*n)++;
}

/* Nobody can kill it: the call is given up all the same, and nothing more is told of it. */
static void cannot_be_killed(struct gafork_test *f)
{
    struct connecting c = {0};
    g_autoptr(GAforkProcess) process = gafork_process_new_connected(f->context, connect_perl, &c,
                                                                    note_destroyed, NULL, NULL);
    g_autoptr(GAforkPoolOptions) one = g_object_new(GAFORK_TYPE_POOL_OPTIONS, "max", 1, NULL);
    g_autoptr(GAforkCallOptions) options = g_object_new(GAFORK_TYPE_CALL_OPTIONS, "cancel-mode",
                                                        GAFORK_CANCEL_MODE_KILL, NULL);
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    gafork_call_auto first = {0}, second = {0};
    unsigned n_events = 0;

    gafork_process_eval(process,
                        "sub tell { AFork::RPC::event('early'); AFork::RPC::flush();"
                        "  select undef, undef, undef, 0.05; AFork::RPC::event('late'); 1 }",
                        NULL, NULL);
    g_autoptr(GAforkPool) pool = gafork_pool_new(process, "tell", one, NULL);
    g_signal_connect_swapped(options, "event", G_CALLBACK(count), &n_events);
    gafork_call_start(pool, "x", options, cancellable, &first);
    gafork_wait(f->main_context, n_events);
    g_cancellable_cancel(cancellable);
    gafork_wait(f->main_context, first.calls);
    g_assert_error(first.error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_assert_cmpuint(gafork_callable_get_pending(GAFORK_CALLABLE(pool)), ==, 0);
    gafork_call_start(pool, "y", NULL, NULL, &second);
    gafork_wait(f->main_context, second.calls);
    g_assert_no_error(second.error);
    g_assert_cmpuint(n_events, ==, 1);
    g_clear_object(&pool);
    g_clear_object(&process);
    g_clear_object(&f->context);
    gafork_settle(f);
    g_assert_cmpuint(c.calls, ==, 101);
}

int main(int argc, char **argv)
{
    gafork_test_init(&argc, &argv);
    gafork_calls_add("/gafork/remote/calls", remote);
    gafork_calls_add("/gafork/remote/fails", remote_fails);
    gafork_calls_add("/gafork/remote/connected", connected);
    gafork_calls_add("/gafork/remote/released", connections_are_released);
    gafork_calls_add("/gafork/remote/cannot-be-killed", cannot_be_killed);
    return g_test_run();
}
