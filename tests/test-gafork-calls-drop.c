/* SPDX-License-Identifier: MIT
 *
 * GAforkRpc: objects that are dropped, closed or disposed of in every callback, and in other
 * threads.
 */
#include "gafork-calls.h"

static const struct {
    const char *signal; /* of the rpc, or of its process */
    bool of_process;
    enum gafork_place place;
} places[] = {
    {"event", false, GAFORK_DROP_IN_SIGNAL},     {"ended", false, GAFORK_DROP_IN_END_SIGNAL},
    {"exited", true, GAFORK_DROP_IN_END_SIGNAL}, {NULL, false, GAFORK_DROP_IN_CALL},
    {NULL, false, GAFORK_DROP_AT_ONCE},
};

static void close_process(struct gafork_drop *drop)
{
    gafork_process_close(gafork_rpc_get_process(drop->object));
}

static void drop_everywhere(struct gafork_test *f, gafork_deed *deed)
{
    for (gsize i = 0; i < G_N_ELEMENTS(places); i++) {
        GAforkRpc *rpc = gafork_calls_rpc(f, "tell", NULL);
        struct gafork_drop drop = {.f = f, .deed = deed, .object = rpc};
        gpointer sender = places[i].of_process ? (gpointer)gafork_rpc_get_process(rpc) : rpc;
        if (places[i].signal)
            g_signal_connect_swapped(sender, places[i].signal, G_CALLBACK(gafork_drop), &drop);
        gafork_drop_run(&drop, places[i].place);
    }
}

static void dropped_in_callbacks(struct gafork_test *f)
{
    for (gafork_deed *const *deed = gafork_deeds; *deed; deed++)
        drop_everywhere(f, *deed);
    drop_everywhere(f, close_process);
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
