/* SPDX-License-Identifier: MIT
 *
 * The helpers of gafork-calls.h.
 */
#include "gafork-calls.h"

#include <unistd.h>

static const char code[] =
    "use strict; use warnings;"
    "sub echo { @_ } sub sum { my $n = 0; $n += $_ for @_; $n } sub pid { $$ }"
    "sub bad { die qq($_[0]\\n) } sub object { die { reason => $_[0] } }"
    "sub leave { syswrite STDERR, qq(leaving with $_[0]\\n); exit $_[0] }"
    "sub nap { AFork::RPC::event($_[0]); AFork::RPC::flush();"
    "  select undef, undef, undef, $_[0] / 1000; $_[0] }"
    "sub tell { AFork::RPC::event(@_); scalar @_ }"
    "sub slurp { my $fh = pop; local $/; scalar <$fh> }"
    "sub open_file { open my $fh, '+>', undef or die $!; syswrite $fh, $_ for @_; ('here', $fh) }";

static void new_context(struct gafork_test *f)
{
    f->context = g_object_new(GAFORK_TYPE_CONTEXT, "perl", g_getenv("AFORK_PERL"), "standard-error",
                              GAFORK_STDIO_TAIL, "environment-changes", f->t->environment, NULL);
}

static void run_case(struct gafork_test *f)
{
    if (!g_file_test(g_getenv("AFORK_PERL"), G_FILE_TEST_IS_EXECUTABLE)) {
        g_test_skip("afork-perl was not built");
        return;
    }
    new_context(f);
    f->func(f);
}

void gafork_calls_add(const char *path, gafork_func *func)
{
    gafork_add_with(path, run_case, func);
}

GAforkProcess *gafork_calls_process(struct gafork_test *f)
{
    GAforkProcess *process = gafork_new(f);

    g_assert_true(gafork_process_eval(process, code, NULL, NULL));
    return process;
}

GAforkRpc *gafork_calls_rpc(struct gafork_test *f, const char *function, GAforkRpcOptions *options)
{
    g_autoptr(GAforkProcess) process = gafork_calls_process(f);
    g_autoptr(GError) error = NULL;
    GAforkRpc *rpc = gafork_rpc_new(process, function, options, &error);

    g_assert_no_error(error);
    return rpc;
}

GAforkPool *gafork_calls_pool(struct gafork_test *f, const char *function,
                              GAforkPoolOptions *options)
{
    g_autoptr(GAforkProcess) process = gafork_calls_process(f);
    g_autoptr(GError) error = NULL;
    GAforkPool *pool = gafork_pool_new(process, function, options, &error);

    g_assert_no_error(error);
    return pool;
}

static void note(struct gafork_call *call, gboolean has_result, GAsyncResult *result)
{
    g_assert_true(has_result == !call->error);
    call->exception = gafork_call_get_exception(result);
    call->calls++;
    if (call->action)
        call->action(call);
}

void gafork_on_bytes(GObject *object, GAsyncResult *result, gpointer data)
{
    struct gafork_call *call = data;

    call->bytes = gafork_callable_call_bytes_finish(GAFORK_CALLABLE(object), result, &call->error);
    note(call, call->bytes != NULL, result);
}

void gafork_on_fds(GObject *object, GAsyncResult *result, gpointer data)
{
    struct gafork_call *call = data;

    call->bytes = gafork_callable_call_fds_finish(GAFORK_CALLABLE(object), result, &call->fd_list,
                                                  &call->error);
    note(call, call->bytes != NULL, result);
}

void gafork_on_strv(GObject *object, GAsyncResult *result, gpointer data)
{
    struct gafork_call *call = data;

    call->strv = gafork_callable_call_strv_finish(GAFORK_CALLABLE(object), result, &call->error);
    note(call, call->strv != NULL, result);
}

void gafork_on_variant(GObject *object, GAsyncResult *result, gpointer data)
{
    struct gafork_call *call = data;

    call->variant = gafork_callable_call_variant_finish(GAFORK_CALLABLE(object), result,
                                                        &call->error);
    note(call, call->variant != NULL, result);
}

void gafork_call_clear(struct gafork_call *call)
{
    g_clear_pointer(&call->bytes, g_bytes_unref);
    g_clear_object(&call->fd_list);
    g_clear_pointer(&call->strv, g_strfreev);
    g_clear_pointer(&call->variant, g_variant_unref);
    g_clear_pointer(&call->exception, g_bytes_unref);
    g_clear_error(&call->error);
    call->calls = 0;
}

void gafork_call_start(gpointer object, const char *argument, GAforkCallOptions *options,
                       GCancellable *cancellable, struct gafork_call *call)
{
    const char *arguments[] = {argument, NULL};

    gafork_callable_call_strv_async(object, arguments, options, cancellable, gafork_on_strv, call);
}

char *gafork_call_one(struct gafork_test *f, gpointer object, const char *argument)
{
    gafork_call_auto call = {0};

    gafork_call_start(object, argument, NULL, NULL, &call);
    gafork_wait(f->main_context, call.calls);
    g_assert_no_error(call.error);
    g_assert_cmpuint(g_strv_length(call.strv), ==, 1);
    return g_strdup(call.strv[0]);
}

GError *gafork_call_error(struct gafork_test *f, gpointer object, const char *argument)
{
    gafork_call_auto call = {0};

    gafork_call_start(object, argument, NULL, NULL, &call);
    gafork_wait(f->main_context, call.calls);
    g_assert_nonnull(call.error);
    return g_steal_pointer(&call.error);
}

void gafork_calls_renew_context(struct gafork_test *f)
{
    g_clear_object(&f->context);
    new_context(f);
}

/* ---- Dropping ---- */

static void deed_unref(struct gafork_drop *drop)
{
    g_clear_object(&drop->object);
}

static void deed_close(struct gafork_drop *drop)
{
    drop->closed = true;
    gafork_callable_close(drop->object);
}

static void deed_close_context(struct gafork_drop *drop)
{
    drop->closed = drop->context_closed = true;
    gafork_context_close(drop->f->context);
}

static void deed_dispose(struct gafork_drop *drop)
{
    g_object_run_dispose(drop->object);
}

gafork_deed *const gafork_deeds[] = {deed_unref, deed_close, deed_close_context, deed_dispose,
                                     NULL};

void gafork_drop(struct gafork_drop *drop)
{
    if (!drop->times++)
        drop->deed(drop);
}

static void drop_in_call(struct gafork_call *call)
{
    gafork_drop(call->data);
}

void gafork_drop_run(struct gafork_drop *drop, enum gafork_place place)
{
    struct gafork_call calls[3] = {{0}};

    if (place == GAFORK_DROP_IN_CALL)
        calls[0] = (struct gafork_call){.action = drop_in_call, .data = drop};
    for (int i = 0; i < 3; i++)
        gafork_call_start(drop->object, "x", drop->options, NULL, &calls[i]);
    if (place == GAFORK_DROP_IN_END_SIGNAL)
        gafork_callable_finish(drop->object);
    if (place == GAFORK_DROP_AT_ONCE)
        gafork_drop(drop);
    gafork_wait(drop->f->main_context,
                drop->times && calls[0].calls && calls[1].calls && calls[2].calls);
    g_clear_object(&drop->object);
    gafork_settle(drop->f);
    for (int i = 0; i < 3; i++) {
        g_assert_cmpuint(calls[i].calls, ==, 1);
        gafork_call_clear(&calls[i]);
    }
    if (drop->context_closed)
        gafork_calls_renew_context(drop->f);
}

static gpointer unref(gpointer object)
{
    g_object_unref(object);
    return NULL;
}

static void note_gone(gpointer thread, G_GNUC_UNUSED GObject *object)
{
    g_atomic_pointer_set((GThread **)thread, g_thread_self());
}

void gafork_unref_elsewhere(gpointer object, GThread **gone_in)
{
    g_object_weak_ref(G_OBJECT(object), note_gone, gone_in);
    g_thread_join(g_thread_new("collector", unref, object));
}
