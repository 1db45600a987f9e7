/* SPDX-License-Identifier: MIT
 *
 * Objects of the GObject layer that are dropped, closed or disposed of in every callback, alone,
 * with a sibling or with their context; and in threads that are not theirs.
 */
#include <dlfcn.h>
#include <signal.h>

#include "gafork-lib.h"

enum place { IN_RUN, IN_FAILED_RUN, IN_WAIT, IN_EXITED, IN_NOTIFY, IN_WARNING, N_PLACES };
enum deed { UNREF, CLOSE, UNREF_ALL, CLOSE_CONTEXT, DISPOSE, N_DEEDS };

struct drop {
    struct gafork_test *f;
    enum deed deed;
    GAforkProcess *process, *sibling;
    unsigned calls;
};

static void drop(struct drop *d)
{
    if (d->calls++)
        return;
    switch (d->deed) {
    case UNREF_ALL:
        g_clear_object(&d->f->context);
        g_clear_object(&d->process);
        g_clear_object(&d->sibling);
        break;
    case CLOSE_CONTEXT:
        gafork_context_close(d->f->context);
        break;
    case CLOSE:
        gafork_process_close(d->sibling);
        gafork_process_close(d->process);
        break;
    case DISPOSE:
        g_object_run_dispose(G_OBJECT(d->process));
        break;
    default:
        g_clear_object(&d->process);
    }
}

static void drop_in_task(struct gafork_result *result)
{
    drop(result->data);
}

static void drop_and_let_go(struct gafork_result *result)
{
    drop(result->data);
    gafork_let_go(result);
}

static void drop_in_exited(G_GNUC_UNUSED GAforkProcess *process, G_GNUC_UNUSED GAforkExit *end,
                           gpointer data)
{
    drop(data);
}

static void drop_in_notify(G_GNUC_UNUSED GObject *object, G_GNUC_UNUSED GParamSpec *pspec,
                           gpointer data)
{
    drop(data);
}

static void drop_in_warning(G_GNUC_UNUSED GAforkContext *context,
                            G_GNUC_UNUSED GAforkProcess *process, G_GNUC_UNUSED const char *message,
                            gpointer data)
{
    drop(data);
}

static void drop_at(struct gafork_test *f, enum place place, enum deed deed)
{
    struct drop d = {.f = f, .deed = deed};
    struct gafork_result run = {.action = gafork_let_go, .data = &d}, wait = {.data = &d},
                         sibling_wait = {0};
    g_autoptr(GCancellable) enough = g_cancellable_new();

    d.process = gafork_new(f);
    d.sibling = gafork_fork(d.process);
    gafork_process_wait_async(d.sibling, enough, gafork_on_wait, &sibling_wait);
    if (place == IN_RUN || place == IN_FAILED_RUN)
        run.action = drop_and_let_go;
    if (place == IN_WAIT)
        wait.action = drop_in_task;
    if (place == IN_EXITED)
        g_signal_connect(d.process, "exited", G_CALLBACK(drop_in_exited), &d);
    if (place == IN_NOTIFY)
        g_signal_connect(d.process, "notify::peer-pid", G_CALLBACK(drop_in_notify), &d);
    if (place == IN_WARNING)
        g_signal_connect(f->context, "warning", G_CALLBACK(drop_in_warning), &d);
    gafork_process_eval(d.process, place == IN_FAILED_RUN ? "die here" : "warn here", NULL, NULL);
    gafork_process_run_async(d.process, "hold", NULL, gafork_on_run, &run);
    gafork_process_wait_async(d.process, NULL, gafork_on_wait, &wait);
    gafork_wait(f->main_context, d.calls && run.calls && wait.calls);
    g_cancellable_cancel(enough);
    gafork_wait(f->main_context, sibling_wait.calls);
    g_clear_object(&d.process);
    g_clear_object(&d.sibling);
    if (f->context)
        gafork_context_close(f->context);
    g_clear_object(&f->context);
    gafork_settle(f);
    g_assert_cmpuint(run.calls, ==, 1);
    gafork_result_clear(&run);
    gafork_result_clear(&wait);
    gafork_result_clear(&sibling_wait);
}

static void dropped_in_callbacks(struct gafork_test *f)
{
    for (int place = 0; place < N_PLACES; place++)
        for (int deed = 0; deed < N_DEEDS; deed++)
            drop_at(f, place, deed);
}

static gpointer unref_elsewhere(gpointer object)
{
    g_object_unref(object);
    return NULL;
}

static void must_not_come(G_GNUC_UNUSED GAforkProcess *process, G_GNUC_UNUSED GAforkExit *end,
                          G_GNUC_UNUSED gpointer data)
{
    g_assert_not_reached();
}

/* A garbage collector drops the last reference in its own thread when the end is about to be
 * told. */
static void dropped_in_another_thread(struct gafork_test *f)
{
    GAforkProcess *process = gafork_new(f);

    g_signal_connect(process, "exited", G_CALLBACK(must_not_come), NULL);
    gafork_wait(f->main_context, gafork_process_get_peer_pid(process));
    pid_t pid = gafork_process_get_peer_pid(process);
    kill(pid, SIGKILL);
    while (test_is_running(pid))
        g_thread_yield();
    g_thread_join(g_thread_new("collector", unref_elsewhere, process));
    gafork_settle(f);
}

/* --- Threads --- */

/* Stand before those of the libraries: where the core is released is noted, and a thread that has
 * sent an object home can be held up before its g_object_unref() returns. */
static GThread *home;
static int released_elsewhere, hold_up, sent; /* atomic */

static void *next_symbol(const char *name)
{
    void *symbol = dlsym(RTLD_NEXT, name);

    g_assert_nonnull(symbol);
    return symbol;
}

static void note_release(void)
{
    if (home && g_thread_self() != home)
        g_atomic_int_inc(&released_elsewhere);
}

void afork_process_unref(struct afork_process *process)
{
    __typeof__(afork_process_unref) *next = next_symbol("afork_process_unref");

    note_release();
    next(process);
}

void afork_context_close(struct afork_context *context)
{
    __typeof__(afork_context_close) *next = next_symbol("afork_context_close");

    note_release();
    next(context);
}

__attribute__((visibility("default"))) guint g_source_attach(GSource *source, GMainContext *context)
{
    __typeof__(g_source_attach) *next = next_symbol("g_source_attach");
    guint id = next(source, context);

    if (g_thread_self() != home && g_atomic_int_get(&hold_up)) {
        g_atomic_int_set(&sent, TRUE);
        while (g_atomic_int_get(&hold_up))
            g_thread_yield();
    }
    return id;
}

static void note_gone(gpointer thread, G_GNUC_UNUSED GObject *object)
{
    g_atomic_pointer_set((GThread **)thread, g_thread_self());
}

/* The home thread has done all that it had to before the other one is through with its call. */
static void home_is_faster(struct gafork_test *f)
{
    GAforkProcess *process = gafork_new(f);
    gpointer objects[] = {process, f->context};

    home = g_thread_self();
    f->context = NULL;
    for (gsize i = 0; i < G_N_ELEMENTS(objects); i++) {
        GThread *gone_in = NULL;

        g_object_weak_ref(objects[i], note_gone, &gone_in);
        g_atomic_int_set(&sent, FALSE);
        g_atomic_int_set(&hold_up, TRUE);
        GThread *collector = g_thread_new("collector", unref_elsewhere, objects[i]);
        gafork_wait(f->main_context, g_atomic_int_get(&sent));
        gafork_settle(f);
        g_atomic_int_set(&hold_up, FALSE);
        g_thread_join(collector);
        g_assert_true(gone_in == home);
    }
    g_assert_cmpint(released_elsewhere, ==, 0);
    home = NULL;
}

/* Without a home thread that is held up, or a collector: whoever comes first. */
static void many_in_another_thread(struct gafork_test *f)
{
    enum { N = 200 };
    GThread *gone_in[N] = {NULL};
    g_autoptr(GAforkProcess) template = gafork_new(f);

    home = g_thread_self();
    for (int i = 0; i < N; i++) {
        GAforkProcess *process = gafork_fork(template);

        g_object_weak_ref(G_OBJECT(process), note_gone, &gone_in[i]);
        GThread *collector = g_thread_new("collector", unref_elsewhere, process);
        gafork_wait(f->main_context, g_atomic_pointer_get(&gone_in[i]));
        g_thread_join(collector);
        g_assert_true(gone_in[i] == home);
    }
    g_assert_cmpint(released_elsewhere, ==, 0);
    home = NULL;
}

/* Nothing of what was closed is at home. */
static void closed_goes_anywhere(struct gafork_test *f)
{
    GAforkProcess *processes[] = {gafork_new(f), gafork_new(f)};
    gpointer objects[] = {processes[0], processes[1], f->context};

    gafork_process_close(processes[0]);
    gafork_settle(f);
    gafork_context_close(f->context);
    f->context = NULL;
    for (gsize i = 0; i < G_N_ELEMENTS(objects); i++) {
        GThread *gone_in = NULL;
        g_object_weak_ref(objects[i], note_gone, &gone_in);
        g_thread_join(g_thread_new("collector", unref_elsewhere, objects[i]));
        g_assert_nonnull(gone_in);
    }
}

/* A thread that runs a context which another has set up. */
struct runner {
    GMainContext *main_context;
    GMainLoop *loop;
    GAforkProcess *inside, *after; /* dropped by the thread, while it runs and then */
    GThread *gone_in[3];
    int running, dropped;
};

static gboolean drop_inside(gpointer data)
{
    struct runner *r = data;

    g_atomic_int_set(&r->running, TRUE);
    if (!gafork_process_get_peer_pid(r->after))
        return G_SOURCE_CONTINUE; /* the loop has nothing of ours dispatched yet */
    g_object_unref(r->inside);
    g_assert_true(r->gone_in[0] == g_thread_self());
    g_atomic_int_set(&r->dropped, TRUE);
    return G_SOURCE_REMOVE;
}

static gpointer runner_main(gpointer data)
{
    struct runner *r = data;
    g_autoptr(GSource) source = g_idle_source_new();

    g_main_context_push_thread_default(r->main_context);
    g_source_set_callback(source, drop_inside, r, NULL);
    g_source_attach(source, r->main_context);
    g_main_loop_run(r->loop);
    g_object_unref(r->after);
    g_assert_true(r->gone_in[1] == g_thread_self());
    g_main_context_pop_thread_default(r->main_context);
    return NULL;
}

static void set_up_for_another_thread(struct gafork_test *f)
{
    g_autoptr(GMainContext) main_context = g_main_context_new();
    g_autoptr(GMainLoop) loop = g_main_loop_new(main_context, FALSE);
    GThread *gone_in = NULL, *context_gone_in = NULL;

    f->context = g_object_new(GAFORK_TYPE_CONTEXT, "perl", f->t->options.perl, "main-context",
                              main_context, "environment-changes", f->t->environment, NULL);
    g_object_weak_ref(G_OBJECT(f->context), note_gone, &context_gone_in);
    struct runner r = {main_context, loop, gafork_new(f), gafork_new(f), {NULL}, 0, 0};
    GAforkProcess *before = gafork_new(f), *meanwhile = gafork_new(f);
    g_clear_object(&f->context);
    g_object_weak_ref(G_OBJECT(before), note_gone, &gone_in);
    g_object_weak_ref(G_OBJECT(r.inside), note_gone, &r.gone_in[0]);
    g_object_weak_ref(G_OBJECT(r.after), note_gone, &r.gone_in[1]);
    g_object_weak_ref(G_OBJECT(meanwhile), note_gone, &r.gone_in[2]);
    g_object_unref(before);
    g_assert_true(gone_in == g_thread_self());

    GThread *runner = home = g_thread_new("runner", runner_main, &r);
    gafork_wait(f->main_context, g_atomic_int_get(&r.running));
    g_object_unref(meanwhile);
    gafork_wait(f->main_context,
                g_atomic_pointer_get(&r.gone_in[2]) && g_atomic_int_get(&r.dropped));
    g_assert_true(r.gone_in[2] == runner);
    g_main_loop_quit(loop);
    g_thread_join(runner);
    g_assert_true(context_gone_in == runner);
    g_assert_cmpint(released_elsewhere, ==, 0);
    home = NULL;
}

/* What was disposed of fails, with a name, whatever it was. */
/* By somebody who knows that it is held until the function was entered, by nobody else. */
static void closed_while_held_by_run(struct gafork_test *f)
{
    GAforkProcess *process = gafork_new(f);
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    struct gafork_result result = {0};

    g_object_add_weak_pointer(G_OBJECT(process), (gpointer *)&process);
    gafork_process_run_async(process, "hold", cancellable, gafork_on_run, &result);
    g_object_unref(process);
    g_cancellable_cancel(cancellable);
    gafork_wait(f->main_context, result.calls);
    g_assert_nonnull(process);
    gafork_process_close(process);
    g_assert_null(process);
    gafork_result_clear(&result);
}

static void disposed_is_closed(struct gafork_test *f)
{
    g_autoptr(GAforkProcess) process = gafork_new(f);
    g_autoptr(GError) error = NULL;

    g_object_run_dispose(G_OBJECT(process));
    g_object_run_dispose(G_OBJECT(process));
    g_assert_false(gafork_process_eval(process, "1", NULL, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CLOSED);
    g_clear_error(&error);
    g_assert_false(gafork_process_kill(process, SIGTERM, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CLOSED);
    g_clear_error(&error);
    g_assert_cmpint(gafork_process_get_peer_pid(process), ==, 0);
    g_object_run_dispose(G_OBJECT(f->context));
    g_assert_null(gafork_process_new(f->context, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CLOSED);
}

int main(int argc, char **argv)
{
    gafork_test_init(&argc, &argv);
    gafork_add("/gafork/dropped-in-another-thread", dropped_in_another_thread);
    gafork_add("/gafork/dropped-in-another-thread/home-is-faster", home_is_faster);
    gafork_add("/gafork/dropped-in-another-thread/many", many_in_another_thread);
    gafork_add("/gafork/dropped-in-another-thread/closed", closed_goes_anywhere);
    gafork_add("/gafork/set-up-for-another-thread", set_up_for_another_thread);
    gafork_add("/gafork/closed-while-held-by-run", closed_while_held_by_run);
    gafork_add("/gafork/disposed-is-closed", disposed_is_closed);
    gafork_add("/gafork/dropped-in-callbacks", dropped_in_callbacks);
    return g_test_run();
}
