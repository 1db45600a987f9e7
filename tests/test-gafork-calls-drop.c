/* SPDX-License-Identifier: MIT
 *
 * GAforkRpc: objects that are dropped, closed or disposed of in every callback, and in other
 * threads.
 */
#include "gafork-calls.h"

enum place { IN_CALL, IN_EVENT, IN_ENDED, IN_EXITED, NOWHERE, N_PLACES };
enum deed { UNREF, CLOSE, CLOSE_PROCESS, CLOSE_CONTEXT, DISPOSE, N_DEEDS };

struct drop {
    struct gafork_test *f;
    enum deed deed;
    GAforkRpc *rpc;
    unsigned calls;
};

static void drop(struct drop *d)
{
    if (d->calls++)
        return;
    switch (d->deed) {
    case CLOSE:
        gafork_callable_close(GAFORK_CALLABLE(d->rpc));
        break;
    case CLOSE_PROCESS:
        gafork_process_close(gafork_rpc_get_process(d->rpc));
        break;
    case CLOSE_CONTEXT:
        gafork_context_close(d->f->context);
        break;
    case DISPOSE:
        g_object_run_dispose(G_OBJECT(d->rpc));
        break;
    default:
        g_clear_object(&d->rpc);
    }
}

static void drop_in_call(struct gafork_call *call)
{
    drop(call->data);
}

static void drop_in_event(G_GNUC_UNUSED GAforkRpc *rpc, G_GNUC_UNUSED GBytes *octets,
                          G_GNUC_UNUSED GUnixFDList *list, gpointer data)
{
    drop(data);
}

static void drop_in_ended(G_GNUC_UNUSED GAforkRpc *rpc, G_GNUC_UNUSED GError *error,
                          G_GNUC_UNUSED GAforkExit *exit, gpointer data)
{
    drop(data);
}

static void drop_in_exited(G_GNUC_UNUSED GAforkProcess *process, G_GNUC_UNUSED GAforkExit *exit,
                           gpointer data)
{
    drop(data);
}

static void drop_at(struct gafork_test *f, enum place place, enum deed deed)
{
    struct drop d = {.f = f, .deed = deed, .rpc = gafork_calls_rpc(f, "tell", NULL)};
    struct gafork_call calls[3] = {{0}};

    g_test_message("place %d, deed %d", (int)place, (int)deed);
    if (place == IN_CALL)
        calls[0] = (struct gafork_call){.action = drop_in_call, .data = &d};
    if (place == IN_EVENT)
        g_signal_connect(d.rpc, "event", G_CALLBACK(drop_in_event), &d);
    if (place == IN_ENDED)
        g_signal_connect(d.rpc, "ended", G_CALLBACK(drop_in_ended), &d);
    if (place == IN_EXITED)
        g_signal_connect(gafork_rpc_get_process(d.rpc), "exited", G_CALLBACK(drop_in_exited), &d);
    for (int i = 0; i < 3; i++)
        gafork_call_start(d.rpc, "x", NULL, NULL, &calls[i]);
    if (place == IN_ENDED || place == IN_EXITED)
        gafork_callable_finish(GAFORK_CALLABLE(d.rpc));
    if (place == NOWHERE)
        drop(&d);
    gafork_wait(f->main_context, d.calls && calls[0].calls && calls[1].calls && calls[2].calls);
    g_clear_object(&d.rpc);
    gafork_settle(f);
    for (int i = 0; i < 3; i++) {
        g_assert_cmpuint(calls[i].calls, ==, 1);
        gafork_call_clear(&calls[i]);
    }
    if (deed == CLOSE_CONTEXT)
        gafork_calls_renew_context(f);
}

static void dropped_in_callbacks(struct gafork_test *f)
{
    for (int place = 0; place < N_PLACES; place++)
        for (int deed = 0; deed < N_DEEDS; deed++)
            drop_at(f, place, deed);
}

/* As garbage collectors do: idle, with calls under way, ended, closed. */
static void dropped_in_another_thread(struct gafork_test *f)
{
    enum { IDLE, UNDER_WAY, FINISHED, CLOSED, N_STATES };

    for (int state = 0; state < N_STATES; state++) {
        GAforkRpc *rpc = gafork_calls_rpc(f, "echo", NULL);
        GThread *gone_in = NULL;
        gafork_call_auto call = {0};
        gafork_call_start(rpc, "x", NULL, NULL, &call);
        if (state == FINISHED)
            gafork_callable_finish(GAFORK_CALLABLE(rpc));
        if (state == CLOSED)
            gafork_callable_close(GAFORK_CALLABLE(rpc));
        if (state != UNDER_WAY)
            gafork_wait(f->main_context, call.calls);
        gafork_unref_elsewhere(rpc, &gone_in);
        gafork_wait(f->main_context, call.calls && g_atomic_pointer_get(&gone_in));
        if (state != CLOSED)
            g_assert_true(gone_in == g_thread_self());
    }
}

int main(int argc, char **argv)
{
    gafork_test_init(&argc, &argv);
    gafork_calls_add("/gafork/calls/dropped-in-callbacks", dropped_in_callbacks);
    gafork_calls_add("/gafork/calls/dropped-in-another-thread", dropped_in_another_thread);
    return g_test_run();
}
