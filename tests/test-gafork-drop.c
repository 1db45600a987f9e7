/* SPDX-License-Identifier: MIT
 *
 * Objects of the GObject layer that are dropped, closed or disposed of in every callback, alone, with
 * a sibling or with their context.
 */
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

/* A garbage collector drops the last reference in its own thread when the end is about to be told. */
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

int main(int argc, char **argv)
{
    gafork_test_init(&argc, &argv);
    gafork_add("/gafork/dropped-in-another-thread", dropped_in_another_thread);
    gafork_add("/gafork/dropped-in-callbacks", dropped_in_callbacks);
    return g_test_run();
}
