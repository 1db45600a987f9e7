/* SPDX-License-Identifier: MIT
 *
 * GAforkPool: calls, what it tells of its workers, its numbers, its ends, and objects that are
 * dropped at any time.
 */
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "gafork-calls.h"

static GAforkPoolOptions *options_of(guint max)
{
    return g_object_new(GAFORK_TYPE_POOL_OPTIONS, "max", max, "start", (gint64)0, NULL);
}

static void forms(struct gafork_test *f)
{
    g_autoptr(GAforkRpcOptions)
        rpc = g_object_new(GAFORK_TYPE_RPC_OPTIONS, "serialiser", GAFORK_SERIALISER_JSON, NULL);
    g_autoptr(GAforkPoolOptions) options = g_object_new(GAFORK_TYPE_POOL_OPTIONS, "rpc", rpc, NULL);
    g_autoptr(GAforkPool) pool = gafork_calls_pool(f, "sum", options);
    g_autoptr(GAforkPool) opener = gafork_calls_pool(f, "open_file", NULL);
    const char *const text[] = {"x", NULL};
    g_autoptr(GBytes) packed = gafork_strv_to_bytes(text, NULL);
    gafork_call_auto variant = {0}, fds = {0}, bytes = {0};

    gafork_callable_call_variant_async(GAFORK_CALLABLE(pool), g_variant_new_parsed("[1, 2, 3]"),
                                       NULL, NULL, gafork_on_variant, &variant);
    gafork_callable_call_fds_async(GAFORK_CALLABLE(opener), packed, NULL, NULL, gafork_on_fds,
                                   &fds);
    gafork_callable_call_bytes_async(GAFORK_CALLABLE(opener), packed, NULL, NULL, gafork_on_bytes,
                                     &bytes);
    gafork_wait(f->main_context, variant.calls && fds.calls && bytes.calls);
    g_autofree char *found = g_variant_print(variant.variant, FALSE);
    g_assert_cmpstr(found, ==, "[<int64 6>]");
    g_assert_cmpint(g_unix_fd_list_get_length(fds.fd_list), ==, 1);
    g_assert_null(bytes.fd_list);
}

/* --- What is told --- */

struct told {
    unsigned started, exited, destroyed, events;
    int pid, status;
    char *tail, *event;
};

static void told_clear(struct told *told)
{
    g_clear_pointer(&told->tail, g_free);
    g_clear_pointer(&told->event, g_free);
}

static void on_started(G_GNUC_UNUSED GAforkPool *pool, GAforkWorker *worker, gpointer data)
{
    struct told *told = data;

    told->started++;
    g_assert_cmpint(gafork_worker_get_pid(worker), >, 0);
}

static void on_exited(G_GNUC_UNUSED GAforkPool *pool, GAforkWorker *worker, GAforkExit *exit,
                      gpointer data)
{
    struct told *told = data;

    told->exited++;
    told->pid = gafork_worker_get_pid(worker);
    g_assert_cmpuint(gafork_worker_get_calls(worker), ==, 0);
    told->status = gafork_exit_get_status(exit);
    g_free(told->tail);
    told->tail = g_strdup(gafork_exit_get_stderr_tail(exit));
}

static void on_destroyed(G_GNUC_UNUSED GAforkPool *pool, gpointer data)
{
    ((struct told *)data)->destroyed++;
}

static void on_event(G_GNUC_UNUSED GAforkPool *pool, int pid, GBytes *octets,
                     G_GNUC_UNUSED GUnixFDList *fd_list, gpointer data)
{
    struct told *told = data;
    g_auto(GStrv) words = gafork_bytes_to_strv(octets, NULL);

    g_assert_cmpint(pid, >, 0);
    told->events++;
    g_free(told->event);
    told->event = g_strjoinv(" ", words);
}

static void listen_to(GAforkPool *pool, struct told *told)
{
    g_signal_connect(pool, "worker-started", G_CALLBACK(on_started), told);
    g_signal_connect(pool, "worker-exited", G_CALLBACK(on_exited), told);
    g_signal_connect(pool, "destroyed", G_CALLBACK(on_destroyed), told);
    g_signal_connect(pool, "event", G_CALLBACK(on_event), told);
}

#define told_auto __attribute__((cleanup(told_clear))) struct told

static void worker_exits(struct gafork_test *f)
{
    g_autoptr(GAforkPoolOptions) options = options_of(1);
    g_autoptr(GAforkPool) pool = gafork_calls_pool(f, "leave", options);
    told_auto told = {0};

    listen_to(pool, &told);
    g_autoptr(GError) error = gafork_call_error(f, pool, "7");
    g_assert_error(error, GAFORK_ERROR, GAFORK_ERROR_EXITED);
    g_assert_nonnull(strstr(error->message, "status 7"));
    gafork_wait(f->main_context, told.exited);
    g_assert_cmpuint(told.started, ==, 1);
    g_assert_cmpint(told.status, ==, 7);
    g_assert_cmpint(told.pid, >, 0);
    g_assert_cmpstr(told.tail, ==, "leaving with 7");
    g_autoptr(GAforkPoolStats) stats = gafork_pool_get_stats(pool, NULL);
    g_assert_cmpuint(stats->crashed, ==, 1);
}

static void count_event(unsigned *n)
{
    ++*n;
}

static void events(struct gafork_test *f)
{
    g_autoptr(GAforkPool) pool = gafork_calls_pool(f, "tell", NULL);
    g_autoptr(GAforkCallOptions) options = gafork_call_options_new();
    told_auto told = {0};
    gafork_call_auto call = {0};
    unsigned n_call_events = 0;

    listen_to(pool, &told);
    g_autofree char *text = gafork_call_one(f, pool, "hello");
    g_assert_cmpuint(told.events, ==, 1);
    g_assert_cmpstr(told.event, ==, "hello");
    g_assert_cmpstr(text, ==, "1");
    g_signal_connect_swapped(options, "event", G_CALLBACK(count_event), &n_call_events);
    gafork_call_start(pool, "x", options, NULL, &call);
    gafork_wait(f->main_context, call.calls);
    g_assert_cmpuint(told.events, ==, 1);
    g_assert_cmpuint(n_call_events, ==, 1);
}

/* --- Numbers --- */

static void count(G_GNUC_UNUSED GObject *object, G_GNUC_UNUSED GParamSpec *pspec, gpointer data)
{
    ++*(unsigned *)data;
}

static void numbers(struct gafork_test *f)
{
    enum { N = 50 };
    g_autoptr(GAforkPoolOptions) options = options_of(2);
    g_object_set(options, "load", 1, NULL);
    g_autoptr(GAforkPool) pool = gafork_calls_pool(f, "nap", options);
    GListModel *workers = gafork_pool_get_workers(pool);
    struct gafork_call calls[N] = {{0}};
    unsigned n_queued = 0, n_workers = 0, n_busy = 0, n_running = 0, done = 0;

    g_signal_connect(pool, "notify::n-queued", G_CALLBACK(count), &n_queued);
    g_signal_connect(pool, "notify::n-running", G_CALLBACK(count), &n_running);
    g_signal_connect(pool, "notify::n-workers", G_CALLBACK(count), &n_workers);
    g_signal_connect(pool, "notify::n-busy", G_CALLBACK(count), &n_busy);
    for (int i = 0; i < N; i++)
        gafork_call_start(pool, "1", NULL, NULL, &calls[i]);
    g_assert_cmpuint(n_queued, ==, 0); /* none inside a call */
    gafork_wait(f->main_context, gafork_pool_get_n_queued(pool));
    g_assert_cmpuint(n_queued, ==, 1); /* one for all */
    gafork_wait(f->main_context, gafork_pool_get_n_busy(pool) == 2);
    g_assert_cmpuint(g_list_model_get_n_items(workers), ==, 2);
    g_assert_true(g_list_model_get_item_type(workers) == GAFORK_TYPE_WORKER);
    for (guint i = 0; i < 2; i++) {
        g_autoptr(GAforkWorker) worker = g_list_model_get_item(workers, i);
        int pid;
        guint n;
        g_object_get(worker, "pid", &pid, "calls", &n, NULL);
        g_assert_cmpint(pid, ==, gafork_worker_get_pid(worker));
        g_assert_cmpint(pid, >, 0);
        g_assert_cmpuint(n, <=, 1);
    }
    for (; done < N; done++)
        gafork_wait(f->main_context, calls[done].calls);
    gafork_wait(f->main_context, !gafork_pool_get_n_running(pool));
    g_assert_cmpuint(gafork_pool_get_n_queued(pool), ==, 0);
    g_assert_cmpuint(gafork_pool_get_n_busy(pool), ==, 0);
    g_assert_cmpuint(n_workers, >=, 1);
    g_assert_cmpuint(n_busy, >=, 2);
    for (int i = 0; i < N; i++)
        gafork_call_clear(&calls[i]);
}

static void sizes(struct gafork_test *f)
{
    g_autoptr(GAforkPoolOptions) options = options_of(2);
    g_autoptr(GAforkPool) pool = gafork_calls_pool(f, "echo", options);
    g_autoptr(GError) error = NULL;
    unsigned n_max = 0, n_idle = 0, n_load = 0;

    g_signal_connect(pool, "notify::max", G_CALLBACK(count), &n_max);
    g_signal_connect(pool, "notify::idle", G_CALLBACK(count), &n_idle);
    g_signal_connect(pool, "notify::load", G_CALLBACK(count), &n_load);
    g_assert_cmpuint(gafork_pool_get_max(pool), ==, 2);
    g_assert_cmpuint(gafork_pool_get_load(pool), ==, 2);
    g_assert_cmpstr(gafork_pool_get_function(pool), ==, "echo");
    g_object_set(pool, "max", 4, "idle", 3, NULL);
    g_assert_cmpuint(gafork_pool_get_max(pool), ==, 4);
    gafork_wait(f->main_context, gafork_pool_get_n_workers(pool) == 3);
    g_assert_false(gafork_pool_set_size(pool, 2, 3, 1, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
    g_assert_cmpuint(gafork_pool_get_idle(pool), ==, 3);
    g_clear_error(&error);
    g_assert_false(gafork_pool_set_size(pool, (guint)G_MAXINT + 1, 3, 1, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
    g_assert_cmpuint(gafork_pool_get_max(pool), ==, 4);
    g_assert_true(gafork_pool_set_size(pool, 0, 1, 5, NULL));
    g_assert_cmpuint(gafork_pool_get_max(pool), ==, gafork_cpu_count());
    g_assert_cmpuint(n_load, ==, 1);
    g_assert_cmpuint(n_idle, ==, 2);
    g_assert_cmpuint(n_max, >=, 1);
    g_assert_true(gafork_pool_set_size(pool, 2, 0, 0, NULL));
    g_assert_cmpuint(gafork_pool_get_load(pool), ==, 2);
    g_assert_true(gafork_pool_set_size(pool, 2, 0, 5, NULL));
    gafork_callable_finish(GAFORK_CALLABLE(pool));
    g_object_set(pool, "load", 9, NULL);
    g_assert_cmpuint(gafork_pool_get_load(pool), ==, 5);
    g_autoptr(GAforkPoolOptions)
        single = g_object_new(GAFORK_TYPE_POOL_OPTIONS, "single-call", TRUE, "idle", 1, NULL);
    g_autoptr(GAforkPool) other = gafork_calls_pool(f, "echo", single);
    g_assert_cmpuint(gafork_pool_get_load(other), ==, 1);
    g_assert_cmpuint(gafork_pool_get_idle(other), ==, 0);
    g_assert_true(gafork_pool_set_size(other, 3, 2, 5, NULL));
    g_assert_cmpuint(gafork_pool_get_max(other), ==, 3);
    g_assert_cmpuint(gafork_pool_get_idle(other), ==, 0);
    g_assert_cmpuint(gafork_pool_get_load(other), ==, 1);
}

static void retired(struct gafork_test *f)
{
    g_autoptr(GAforkPoolOptions) options = options_of(1);
    g_autoptr(GAforkPool) pool = gafork_calls_pool(f, "pid", options);
    told_auto told = {0};

    listen_to(pool, &told);
    g_autofree char *first = gafork_call_one(f, pool, "");
    g_autofree char *same = gafork_call_one(f, pool, "");
    g_assert_cmpstr(first, ==, same);
    g_assert_true(gafork_pool_retire(pool, NULL));
    g_autofree char *other = gafork_call_one(f, pool, "");
    g_assert_cmpstr(first, !=, other);
    gafork_wait(f->main_context, told.exited);
    g_assert_cmpint(told.pid, ==, atoi(first));
    g_assert_cmpint(told.status, ==, 0);
}

static void limits(struct gafork_test *f)
{
    g_autoptr(GAforkLimits)
        confined = g_object_new(GAFORK_TYPE_LIMITS, "file-size", (guint64)1, NULL);
    g_autoptr(GAforkPoolOptions) options = options_of(1);
    g_object_set(options, "limits", confined, NULL);
    g_autoptr(GAforkPool) pool = gafork_calls_pool(f, "open_file", options);
    const char *const arguments[] = {"1", "2", NULL};
    gafork_call_auto call = {0};

    gafork_callable_call_strv_async(GAFORK_CALLABLE(pool), arguments, NULL, NULL, gafork_on_strv,
                                    &call);
    gafork_wait(f->main_context, call.calls);
    g_assert_error(call.error, GAFORK_ERROR, GAFORK_ERROR_SIGNALLED);

    g_autoptr(GAforkLimits) alone = g_object_new(GAFORK_TYPE_LIMITS, "no-new-processes", TRUE,
                                                 "forks-only", TRUE, NULL);
    g_autoptr(GAforkProcess) process = gafork_calls_process(f);
    g_autoptr(GError) error = NULL;
    g_assert_true(gafork_process_set_limits(process, alone, NULL));
    g_assert_null(gafork_pool_new(process, "pid", NULL, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED);
    g_assert_nonnull(strstr(error->message, "options of the pool"));
}

/* --- The queue --- */

static void note_order(struct gafork_call *call)
{
    g_string_append(call->data, call->strv[0]);
}

static void priorities(struct gafork_test *f)
{
    g_autoptr(GAforkPoolOptions) pool_options = options_of(1);
    g_object_set(pool_options, "load", 1, NULL);
    g_autoptr(GAforkPool) pool = gafork_calls_pool(f, "echo", pool_options);
    g_autoptr(GAforkCallOptions) high = g_object_new(GAFORK_TYPE_CALL_OPTIONS, "priority", 5, NULL);
    g_autoptr(GAforkCallOptions) moved = gafork_call_options_new();
    g_autoptr(GString) text = g_string_new(NULL);
    static const char *const words[] = {"a", "b", "c", "d", "e", "f"};
    GAforkCallOptions *options[] = {NULL, NULL, NULL, high, moved, NULL};
    struct gafork_call calls[6];

    for (int i = 0; i < 6; i++) {
        calls[i] = (struct gafork_call){.action = note_order, .data = text};
        gafork_call_start(pool, words[i], options[i], NULL, &calls[i]);
    }
    g_object_set(moved, "priority", 6, NULL);
    gafork_wait(f->main_context, text->len == 6);
    /* The first may have had a worker before. */
    g_assert_nonnull(strstr(text->str, "ed"));
    g_assert_cmpint(strchr(text->str, 'd') - text->str, <=, 2);
    g_assert_nonnull(strstr(text->str, "bcf"));
    for (int i = 0; i < 6; i++)
        gafork_call_clear(&calls[i]);
}

/* Where no worker can be killed, the call is given up all the same. */
static void not_killed_on_cancel(struct gafork_test *f)
{
    g_autoptr(GAforkPoolOptions) options = options_of(1);
    g_autoptr(GAforkCallOptions)
        how = g_object_new(GAFORK_TYPE_CALL_OPTIONS, "cancel-mode", GAFORK_CANCEL_MODE_KILL, NULL);
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    gafork_call_auto call = {0};
    unsigned n_events = 0;

    g_object_unref(f->context);
    f->context = g_object_new(GAFORK_TYPE_CONTEXT, "perl", g_getenv("AFORK_PERL"), "peer",
                              GAFORK_PEER_ORIGINAL, "serve-module", "AnyEvent::Fork::Serve",
                              "environment-changes", f->t->environment, NULL);
    g_autoptr(GAforkPool) pool = gafork_calls_pool(f, "nap", options);
    g_signal_connect_swapped(pool, "event", G_CALLBACK(count_event), &n_events);
    gafork_call_start(pool, "100", how, cancellable, &call);
    gafork_wait(f->main_context, n_events); /* it is at work */
    g_cancellable_cancel(cancellable);
    gafork_wait(f->main_context, call.calls);
    g_assert_error(call.error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_autoptr(GAforkPoolStats) stats = gafork_pool_get_stats(pool, NULL);
    g_assert_cmpuint(stats->cancelled, ==, 1);
    g_assert_cmpuint(stats->running, ==, 0);
    g_autofree char *text = gafork_call_one(f, pool, "1");
    g_assert_cmpstr(text, ==, "1");
}

/* --- Many at a time --- */

static gint64 cpu_usec(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * G_USEC_PER_SEC + now.tv_nsec / 1000;
}

/* A folder is left for another: what is wanted now comes first, and quitting does not wait. */
static void other_folder(struct gafork_test *f)
{
    enum { N = 5000, KEPT = 20, URGENT = 20 };
    g_autoptr(GAforkPoolOptions) options = options_of(2);
    g_autoptr(GAforkPool) pool = gafork_calls_pool(f, "nap", options);
    g_autoptr(GAforkCallOptions)
        urgent = g_object_new(GAFORK_TYPE_CALL_OPTIONS, "priority", 5, NULL);
    g_autoptr(GCancellable) folder = g_cancellable_new();
    g_autofree struct gafork_call *calls = g_new0(struct gafork_call, N);
    struct gafork_call wanted[URGENT] = {{0}};
    unsigned done = 0;

    for (int i = 0; i < N; i++)
        gafork_call_start(pool, "20", NULL, i < KEPT ? NULL : folder, &calls[i]);
    gafork_wait(f->main_context, calls[0].calls);
    const gint64 start = cpu_usec();
    g_cancellable_cancel(folder);
    for (int i = 0; i < URGENT; i++)
        gafork_call_start(pool, "1", urgent, NULL, &wanted[i]);
    gafork_wait(f->main_context, calls[N - 1].calls);
    for (int i = 0; i < URGENT; i++)
        gafork_wait(f->main_context, wanted[i].calls);
    for (int i = 0; i < KEPT; i++)
        done += calls[i].calls;
    g_assert_cmpuint(done, <=, 9); /* those that workers had already, and the first ones */
    gafork_callable_close(GAFORK_CALLABLE(pool));
    gafork_context_close(f->context);
    g_assert_cmpint(cpu_usec() - start, <, 200000);
    gafork_settle(f);
    for (int i = 0; i < N; i++) {
        g_assert_cmpuint(calls[i].calls, ==, 1);
        if (i >= KEPT)
            g_assert_error(calls[i].error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
        gafork_call_clear(&calls[i]);
    }
    for (int i = 0; i < URGENT; i++) {
        g_assert_no_error(wanted[i].error);
        gafork_call_clear(&wanted[i]);
    }
}

/* --- Ends --- */

static void broken(struct gafork_test *f)
{
    g_autoptr(GAforkPoolOptions) options = options_of(1);
    g_object_set(options, "max-failures", 2, NULL);
    g_autoptr(GAforkPool) pool = gafork_calls_pool(f, "not::there", options);
    unsigned told = 0;

    g_signal_connect(pool, "notify::broken", G_CALLBACK(count), &told);
    g_autoptr(GError) first = gafork_call_error(f, pool, "x");
    g_assert_error(first, GAFORK_ERROR, GAFORK_ERROR_BROKEN);
    g_assert_nonnull(strstr(first->message, "not::there"));
    g_assert_true(gafork_pool_get_broken(pool));
    g_assert_nonnull(strstr(gafork_pool_get_failure(pool), "not::there"));
    g_assert_cmpuint(told, ==, 1);
    g_autoptr(GError) second = gafork_call_error(f, pool, "x");
    g_assert_error(second, GAFORK_ERROR, GAFORK_ERROR_BROKEN);
    g_test_message("%s", second->message);
    g_assert_nonnull(strstr(second->message, "not::there"));
    g_assert_true(gafork_pool_reset(pool, NULL));
    gafork_wait(f->main_context, !gafork_pool_get_broken(pool));
    g_assert_null(gafork_pool_get_failure(pool));
    g_assert_cmpuint(told, ==, 2);
}

static void mend(GAforkPool *pool, G_GNUC_UNUSED GParamSpec *pspec, gpointer flag)
{
    if (!gafork_pool_get_broken(pool))
        return;
    g_assert_nonnull(strstr(gafork_pool_get_failure(pool), "no luck"));
    g_assert_true(g_file_set_contents(flag, "", 0, NULL));
    g_assert_true(gafork_pool_reset(pool, NULL));
}

/* The pool is reset when it tells that it is broken: only one of the calls that wait fails. */
static void mended(struct gafork_test *f)
{
    g_autofree char *flag = g_strdup_printf("%s/gafork-mend-%d", g_get_tmp_dir(), getpid());
    g_autofree char *code = g_strdup_printf("sub start { -e '%s' or die qq(no luck\\n) }", flag);
    g_autoptr(GAforkProcess) process = gafork_calls_process(f);
    g_assert_true(gafork_process_eval(process, code, NULL, NULL));
    g_autoptr(GAforkRpcOptions) rpc = g_object_new(GAFORK_TYPE_RPC_OPTIONS, "init", "start", NULL);
    g_autoptr(GAforkPoolOptions) options = options_of(1);
    g_object_set(options, "max-failures", 1, "rpc", rpc, NULL);
    g_autoptr(GAforkPool) pool = gafork_pool_new(process, "echo", options, NULL);
    gafork_call_auto first = {0}, second = {0}, third = {0};

    g_signal_connect(pool, "notify::broken", G_CALLBACK(mend), flag);
    gafork_call_start(pool, "1", NULL, NULL, &first);
    gafork_call_start(pool, "2", NULL, NULL, &second);
    gafork_call_start(pool, "3", NULL, NULL, &third);
    gafork_wait(f->main_context, first.calls && second.calls && third.calls);
    unlink(flag);
    g_assert_error(first.error, GAFORK_ERROR, GAFORK_ERROR_BROKEN);
    g_assert_nonnull(strstr(first.error->message, "no luck"));
    g_assert_no_error(second.error);
    g_assert_no_error(third.error);
    g_assert_false(gafork_pool_get_broken(pool));
    g_assert_null(gafork_pool_get_failure(pool));
}

static void finished(struct gafork_test *f)
{
    g_autoptr(GAforkPool) pool = gafork_calls_pool(f, "nap", NULL);
    g_autoptr(GError) error = NULL;
    told_auto told = {0};
    gafork_call_auto call = {0};

    listen_to(pool, &told);
    gafork_call_start(pool, "1", NULL, NULL, &call);
    gafork_callable_finish(GAFORK_CALLABLE(pool));
    gafork_callable_finish(GAFORK_CALLABLE(pool));
    g_autoptr(GError) late = gafork_call_error(f, pool, "1");
    g_assert_error(late, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE);
    gafork_wait(f->main_context, told.destroyed);
    g_assert_cmpuint(call.calls, ==, 1);
    g_assert_no_error(call.error);
    g_assert_cmpuint(gafork_pool_get_n_workers(pool), ==, 0);
    g_assert_cmpuint(g_list_model_get_n_items(gafork_pool_get_workers(pool)), ==, 0);
    g_assert_null(gafork_pool_get_stats(pool, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE);
    gafork_callable_close(GAFORK_CALLABLE(pool));
    gafork_settle(f);
    g_assert_cmpuint(told.destroyed, ==, 1);
}

static void closed(struct gafork_test *f)
{
    enum { N = 1000 };
    g_autoptr(GAforkPool) pool = gafork_calls_pool(f, "nap", NULL);
    g_autofree struct gafork_call *calls = g_new0(struct gafork_call, N);
    told_auto told = {0};

    listen_to(pool, &told);
    for (int i = 0; i < N; i++)
        gafork_call_start(pool, "60000", NULL, NULL, &calls[i]);
    gafork_wait(f->main_context, told.events && gafork_pool_get_n_queued(pool));
    g_autoptr(GAforkWorker) worker = g_list_model_get_item(gafork_pool_get_workers(pool), 0);
    g_assert_cmpuint(gafork_worker_get_calls(worker), >, 0);
    told.exited = 0;
    gafork_callable_close(GAFORK_CALLABLE(pool));
    gafork_callable_close(GAFORK_CALLABLE(pool));
    g_assert_cmpuint(gafork_worker_get_calls(worker), ==, 0);
    g_assert_cmpuint(gafork_pool_get_n_workers(pool), ==, 0);
    g_assert_cmpuint(gafork_pool_get_n_queued(pool), ==, 0);
    g_assert_cmpuint(calls[0].calls, ==, 0);
    gafork_wait(f->main_context, calls[N - 1].calls);
    for (int i = 0; i < N; i++) {
        g_assert_cmpuint(calls[i].calls, ==, 1);
        g_assert_error(calls[i].error, G_IO_ERROR, G_IO_ERROR_CLOSED);
        gafork_call_clear(&calls[i]);
    }
    g_autoptr(GError) error = gafork_call_error(f, pool, "1");
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CLOSED);
    g_assert_cmpuint(told.exited + told.destroyed, ==, 0);
}

/* The process that the pool was made of has no more to do with it. */
static void process_goes(struct gafork_test *f)
{
    g_autoptr(GAforkProcess) process = gafork_calls_process(f);
    g_autoptr(GAforkPool) pool = gafork_pool_new(process, "echo", NULL, NULL);

    gafork_process_close(process);
    g_autofree char *text = gafork_call_one(f, pool, "x");
    g_assert_cmpstr(text, ==, "x");
}

static void constructor_errors(struct gafork_test *f)
{
    g_autoptr(GAforkPoolOptions)
        options = g_object_new(GAFORK_TYPE_POOL_OPTIONS, "max", 1, "idle", 2, NULL);
    g_autoptr(GAforkProcess) process = gafork_calls_process(f);
    g_autoptr(GError) error = NULL;

    g_assert_null(gafork_pool_new(process, "echo", options, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
    g_clear_error(&error);
    gafork_process_close(process);
    g_assert_null(gafork_pool_new(process, "echo", NULL, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CLOSED);
}

int main(int argc, char **argv)
{
    gafork_test_init(&argc, &argv);
    gafork_calls_add("/gafork/pool/forms", forms);
    gafork_calls_add("/gafork/pool/worker-exits", worker_exits);
    gafork_calls_add("/gafork/pool/events", events);
    gafork_calls_add("/gafork/pool/numbers", numbers);
    gafork_calls_add("/gafork/pool/sizes", sizes);
    gafork_calls_add("/gafork/pool/retired", retired);
    gafork_calls_add("/gafork/pool/limits", limits);
    gafork_calls_add("/gafork/pool/priorities", priorities);
    gafork_calls_add("/gafork/pool/killed-on-cancel/not", not_killed_on_cancel);
    gafork_calls_add("/gafork/pool/other-folder", other_folder);
    gafork_calls_add("/gafork/pool/broken", broken);
    gafork_calls_add("/gafork/pool/mended", mended);
    gafork_calls_add("/gafork/pool/finished", finished);
    gafork_calls_add("/gafork/pool/closed", closed);
    gafork_calls_add("/gafork/pool/process-goes", process_goes);
    gafork_calls_add("/gafork/pool/constructor-errors", constructor_errors);
    return g_test_run();
}
