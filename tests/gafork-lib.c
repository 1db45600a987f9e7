/* SPDX-License-Identifier: MIT
 *
 * The fixture and helpers of gafork-lib.h.
 */
#include "gafork-lib.h"

#include <gio/gunixconnection.h>

/* The function of a case, and the one that it is called by. */
struct gafork_case {
    gafork_func *run, *func;
};

static void call_func(struct gafork_test *f)
{
    f->func(f);
}

static void run_case(struct test *t)
{
    const struct gafork_case *c = t->data;
    struct gafork_test f = {.t = t, .func = c->func, .main_context = g_main_context_new()};

    g_main_context_push_thread_default(f.main_context);
    c->run(&f);
    if (f.context) {
        g_object_add_weak_pointer(G_OBJECT(f.context), (gpointer *)&f.context);
        g_object_unref(f.context);
        gafork_settle(&f);
        g_assert_null(f.context);
    }
    g_main_context_pop_thread_default(f.main_context);
    g_main_context_unref(f.main_context);
}

void gafork_test_init(int *argc, char ***argv)
{
    g_test_init(argc, argv, NULL);
    g_main_context_default();
    g_type_ensure(G_TYPE_TASK); /* a thread, with a main context */
}

void gafork_add(const char *path, gafork_func *func)
{
    gafork_add_with(path, call_func, func);
}

void gafork_add_with(const char *path, gafork_func *run, gafork_func *func)
{
    struct gafork_case *data = g_new(struct gafork_case, 1);

    *data = (struct gafork_case){run, func};
    test_add_data(NULL, path, run_case, data);
}

GAforkContext *gafork_context(struct gafork_test *f)
{
    if (!f->context)
        f->context = g_object_new(GAFORK_TYPE_CONTEXT, "perl", f->t->options.perl,
                                  "environment-changes", f->t->environment, NULL);
    return f->context;
}

GAforkProcess *gafork_new(struct gafork_test *f)
{
    g_autoptr(GError) error = NULL;
    GAforkProcess *process = gafork_process_new(gafork_context(f), &error);

    g_assert_no_error(error);
    return process;
}

GAforkProcess *gafork_fork(GAforkProcess *process)
{
    g_autoptr(GError) error = NULL;
    GAforkProcess *child = gafork_process_fork(process, &error);

    g_assert_no_error(error);
    return child;
}

static gboolean wake(G_GNUC_UNUSED gpointer data)
{
    return G_SOURCE_REMOVE;
}

void gafork_turn(GMainContext *main_context, gint64 deadline, const char *what)
{
    if (g_get_monotonic_time() > deadline)
        g_error("%s did not come true in time", what);
    g_autoptr(GSource) timeout = g_timeout_source_new(10);
    g_source_set_callback(timeout, wake, NULL, NULL);
    g_source_attach(timeout, main_context);
    g_main_context_iteration(main_context, TRUE);
    g_source_destroy(timeout);
}

void gafork_settle(struct gafork_test *f)
{
    while (g_main_context_iteration(f->main_context, FALSE))
        ;
}

static void note(struct gafork_result *result)
{
    result->calls++;
    result->thread = g_thread_self();
    if (result->action)
        result->action(result);
}

void gafork_on_run(GObject *process, GAsyncResult *result, gpointer data)
{
    struct gafork_result *r = data;

    r->connection = gafork_process_run_finish(GAFORK_PROCESS(process), result, &r->error);
    g_assert_true(!r->connection == !!r->error);
    note(r);
}

void gafork_on_wait(GObject *process, GAsyncResult *result, gpointer data)
{
    struct gafork_result *r = data;

    r->exit = gafork_process_wait_finish(GAFORK_PROCESS(process), result, &r->error);
    g_assert_true(!r->exit == !!r->error);
    note(r);
}

void gafork_result_clear(struct gafork_result *result)
{
    g_clear_object(&result->connection);
    g_clear_pointer(&result->exit, gafork_exit_unref);
    g_clear_error(&result->error);
    result->calls = 0;
}

void gafork_let_go(struct gafork_result *result)
{
    g_clear_object(&result->connection);
}

GSocketConnection *gafork_run(struct gafork_test *f, GAforkProcess *process, const char *function)
{
    struct gafork_result run = {0};

    gafork_process_run_async(process, function, NULL, gafork_on_run, &run);
    gafork_wait(f->main_context, run.calls);
    g_assert_no_error(run.error);
    g_assert_true(G_IS_UNIX_CONNECTION(run.connection));
    return run.connection;
}

GError *gafork_run_error(struct gafork_test *f, GAforkProcess *process, const char *function)
{
    struct gafork_result run = {0};

    gafork_process_run_async(process, function, NULL, gafork_on_run, &run);
    gafork_wait(f->main_context, run.calls);
    g_assert_nonnull(run.error);
    return run.error;
}

static void on_spliced(GObject *output, GAsyncResult *result, gpointer data)
{
    g_autoptr(GError) error = NULL;

    g_output_stream_splice_finish(G_OUTPUT_STREAM(output), result, &error);
    g_assert_no_error(error);
    *(gboolean *)data = TRUE;
}

char *gafork_slurp(struct gafork_test *f, GSocketConnection *connection)
{
    GInputStream *input = g_io_stream_get_input_stream(G_IO_STREAM(connection));
    g_autoptr(GOutputStream) output = g_memory_output_stream_new_resizable();
    gboolean done = FALSE;

    g_output_stream_splice_async(output, input, G_OUTPUT_STREAM_SPLICE_NONE, G_PRIORITY_DEFAULT,
                                 NULL, on_spliced, &done);
    gafork_wait(f->main_context, done);
    g_assert_true(g_output_stream_write(output, "", 1, NULL, NULL) == 1);
    g_output_stream_close(output, NULL, NULL);
    return g_memory_output_stream_steal_data(G_MEMORY_OUTPUT_STREAM(output));
}

char *gafork_output(struct gafork_test *f, GAforkProcess *process, const char *function)
{
    g_autoptr(GSocketConnection) connection = gafork_run(f, process, function);

    return gafork_slurp(f, connection);
}

GAforkExit *gafork_wait_exit(struct gafork_test *f, GAforkProcess *process)
{
    gafork_wait(f->main_context, gafork_process_get_exit(process));
    return gafork_process_get_exit(process);
}
