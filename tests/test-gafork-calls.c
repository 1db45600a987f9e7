/* SPDX-License-Identifier: MIT
 *
 * GAforkRpc, and calls in all their forms: results, errors, options, cancelling, and objects that
 * are dropped at any time.
 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "gafork-calls.h"

static GAforkRpcOptions *json_options(void)
{
    return g_object_new(GAFORK_TYPE_RPC_OPTIONS, "serialiser", GAFORK_SERIALISER_JSON, NULL);
}

/* --- Forms --- */

static void strings(struct gafork_test *f)
{
    const char *arguments[] = {"one", "", "zw\xc3\xb6lf", NULL}, *none[] = {NULL};
    g_autoptr(GAforkRpc) rpc = gafork_calls_rpc(f, "echo", NULL);
    gafork_call_auto call = {0}, empty = {0};

    gafork_callable_call_strv_async(GAFORK_CALLABLE(rpc), arguments, NULL, NULL, gafork_on_strv,
                                    &call);
    gafork_callable_call_strv_async(GAFORK_CALLABLE(rpc), none, NULL, NULL, gafork_on_strv, &empty);
    g_assert_cmpuint(gafork_callable_get_pending(GAFORK_CALLABLE(rpc)), ==, 2);
    gafork_wait(f->main_context, call.calls && empty.calls);
    g_assert_no_error(call.error);
    g_assert_true(g_strv_equal((const char *const *)call.strv, arguments));
    g_assert_true(g_strv_equal((const char *const *)empty.strv, none));
    g_assert_cmpuint(gafork_callable_get_pending(GAFORK_CALLABLE(rpc)), ==, 0);
    g_assert_cmpstr(gafork_rpc_get_function(rpc), ==, "echo");
    g_assert_cmpint(gafork_process_get_peer_pid(gafork_rpc_get_process(rpc)), >, 0);
}

static void octets(struct gafork_test *f)
{
    static const guint8 raw[] = {3, 'a', 0, 0xff, 0};
    g_autoptr(GAforkRpc) rpc = gafork_calls_rpc(f, "echo", NULL);
    g_autoptr(GBytes) bytes = g_bytes_new_static(raw, sizeof raw);
    gafork_call_auto call = {0}, strv = {0}, variant = {0};

    gafork_callable_call_bytes_async(GAFORK_CALLABLE(rpc), bytes, NULL, NULL, gafork_on_bytes,
                                     &call);
    gafork_wait(f->main_context, call.calls);
    g_assert_no_error(call.error);
    g_assert_true(g_bytes_equal(call.bytes, bytes));

    /* What is no text is not made one. */
    GVariant *values[] = {
        g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, raw + 1, 3, 1),
        g_variant_new_string("text"),
    };
    GVariant *tuple = g_variant_new_tuple(values, 2);
    gafork_callable_call_variant_async(GAFORK_CALLABLE(rpc), tuple, NULL, NULL, gafork_on_variant,
                                       &variant);
    gafork_wait(f->main_context, variant.calls);
    g_assert_no_error(variant.error);
    g_assert_cmpstr(g_variant_get_type_string(variant.variant), ==, "aay");
    g_assert_cmpuint(g_variant_n_children(variant.variant), ==, 2);
    g_autoptr(GVariant) first = g_variant_get_child_value(variant.variant, 0);
    gsize len;
    g_assert_cmpmem(g_variant_get_fixed_array(first, &len, 1), 3, raw + 1, 3);
    g_assert_cmpuint(len, ==, 3);
    g_autoptr(GBytes)
        packed = gafork_variant_to_bytes(variant.variant, GAFORK_SERIALISER_OCTETS, NULL);
    g_autoptr(GError) error = NULL;
    g_assert_null(gafork_bytes_to_strv(packed, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
    gafork_call_start(rpc, "fine", NULL, NULL, &strv);
    gafork_wait(f->main_context, strv.calls);
    g_assert_cmpstr(strv.strv[0], ==, "fine");
}

static void assert_variant(struct gafork_test *f, GAforkRpc *rpc, const char *text,
                           const char *type, const char *expected)
{
    g_autoptr(GVariantType) result_type = type ? g_variant_type_new(type) : NULL;
    g_autoptr(GAforkCallOptions)
        options = g_object_new(GAFORK_TYPE_CALL_OPTIONS, "result-type", result_type, NULL);
    gafork_call_auto call = {0};

    gafork_callable_call_variant_async(GAFORK_CALLABLE(rpc), g_variant_new_parsed(text), options,
                                       NULL, gafork_on_variant, &call);
    gafork_wait(f->main_context, call.calls);
    if (!expected) {
        g_assert_error(call.error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
        return;
    }
    g_assert_no_error(call.error);
    g_autofree char *found = g_variant_print(call.variant, TRUE);
    g_assert_cmpstr(found, ==, expected);
}

static void variants(struct gafork_test *f)
{
    g_autoptr(GAforkRpcOptions) options = json_options();
    g_autoptr(GAforkRpc) rpc = gafork_calls_rpc(f, "echo", options);

    assert_variant(f, rpc, "(1, 'zw\xc3\xb6lf', 2.5, true, @mi nothing)", NULL,
                   "[<int64 1>, <'zw\xc3\xb6lf'>, <2.5>, <true>, <@mv nothing>]");
    assert_variant(f, rpc, "[{'a': <[1, 2]>}]", NULL, "[<{'a': <[<int64 1>, <int64 2>]>}>]");
    assert_variant(f, rpc, "(1, 'x', [1.5, 2])", "(usad)", "(uint32 1, 'x', [1.5, 2.0])");
    assert_variant(f, rpc, "()", NULL, "@av []");
    assert_variant(f, rpc, "(1, 'x')", "(ss)", NULL);
    assert_variant(f, rpc, "('a',)", "as", "['a']");
}

static void bad_arguments(struct gafork_test *f)
{
    g_autoptr(GAforkRpcOptions) options = json_options();
    g_autoptr(GAforkRpcOptions) storable = g_object_new(GAFORK_TYPE_RPC_OPTIONS, "serialiser",
                                                        GAFORK_SERIALISER_STORABLE, NULL);
    g_autoptr(GAforkRpc) json = gafork_calls_rpc(f, "echo", options);
    g_autoptr(GAforkRpc) plain = gafork_calls_rpc(f, "echo", NULL);
    g_autoptr(GAforkRpc) other = gafork_calls_rpc(f, "echo", storable);
    const struct {
        GAforkRpc *rpc;
        GVariant *arguments;
        int code;
    } cases[] = {
        {json, g_variant_new_parsed("{'a': 1}"), G_IO_ERROR_INVALID_ARGUMENT},
        {json, g_variant_new_string("a"), G_IO_ERROR_INVALID_ARGUMENT},
        {json, g_variant_new_parsed("(1, <inf>)"), G_IO_ERROR_INVALID_ARGUMENT},
        {plain, g_variant_new_parsed("(1,)"), G_IO_ERROR_INVALID_ARGUMENT},
        {plain, g_variant_new_parsed("('a', <1>)"), G_IO_ERROR_INVALID_ARGUMENT},
        {other, g_variant_new_parsed("('a',)"), G_IO_ERROR_NOT_SUPPORTED},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        gafork_call_auto call = {0};
        gafork_callable_call_variant_async(GAFORK_CALLABLE(cases[i].rpc), cases[i].arguments, NULL,
                                           NULL, gafork_on_variant, &call);
        g_assert_cmpuint(call.calls, ==, 0);
        gafork_wait(f->main_context, call.calls);
        g_assert_error(call.error, G_IO_ERROR, cases[i].code);
    }
    g_autoptr(GError) error = gafork_call_error(f, json, "text");
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED);
}

static void bad_octets(G_GNUC_UNUSED struct gafork_test *f)
{
    static const char *const cases[] = {"\005ab", "\x80", "\xff\xff\xff\xff\xff\xff\xff\xff\x7f"};

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GBytes) bytes = g_bytes_new(cases[i], strlen(cases[i]));
        g_autoptr(GError) error = NULL, other = NULL;
        g_assert_null(gafork_bytes_to_strv(bytes, &error));
        g_assert_error(error, GAFORK_ERROR, GAFORK_ERROR_PROTOCOL);
        g_assert_null(gafork_bytes_to_variant(bytes, GAFORK_SERIALISER_OCTETS, NULL, &other));
        g_assert_error(other, GAFORK_ERROR, GAFORK_ERROR_PROTOCOL);
        g_clear_error(&other);
        g_assert_null(gafork_bytes_to_variant(bytes, GAFORK_SERIALISER_STORABLE, NULL, &other));
        g_assert_error(other, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED);
    }
}

static void descriptors(struct gafork_test *f)
{
    g_autoptr(GUnixFDList) list = g_unix_fd_list_new();
    g_autoptr(GAforkCallOptions) options = gafork_call_options_new();
    g_autoptr(GAforkRpc) reader = gafork_calls_rpc(f, "slurp", NULL);
    g_autoptr(GAforkRpc) opener = gafork_calls_rpc(f, "open_file", NULL);
    const char *const arguments[] = {"some text", NULL};
    g_autoptr(GBytes) packed = gafork_strv_to_bytes(arguments, NULL);
    gafork_call_auto opened = {0}, read_back = {0}, dropped = {0};

    gafork_callable_call_fds_async(GAFORK_CALLABLE(opener), packed, NULL, NULL, gafork_on_fds,
                                   &opened);
    gafork_call_start(opener, "dropped", NULL, NULL, &dropped); /* descriptors are not leaked */
    gafork_wait(f->main_context, opened.calls && dropped.calls);
    g_assert_no_error(opened.error);
    g_assert_cmpint(g_unix_fd_list_get_length(opened.fd_list), ==, 1);
    g_auto(GStrv) words = gafork_bytes_to_strv(opened.bytes, NULL);
    g_assert_cmpstr(words[0], ==, "here");
    g_assert_cmpstr(dropped.strv[0], ==, "here");
    int fd = g_unix_fd_list_peek_fds(opened.fd_list, NULL)[0];
    g_assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    lseek(fd, 0, SEEK_SET);
    g_assert_cmpint(g_unix_fd_list_append(list, fd, NULL), ==, 0);
    g_object_set(options, "fd-list", list, NULL);
    gafork_call_start(reader, "x", options, NULL, &read_back);
    gafork_wait(f->main_context, read_back.calls);
    g_assert_no_error(read_back.error);
    g_assert_cmpstr(read_back.strv[0], ==, "some text");
}

/* --- Errors --- */

static void exceptions(struct gafork_test *f)
{
    g_autoptr(GAforkRpcOptions) options = json_options();
    g_autoptr(GAforkRpc) bad = gafork_calls_rpc(f, "bad", NULL);
    g_autoptr(GAforkRpc) object = gafork_calls_rpc(f, "object", options);
    gafork_call_auto call = {0};

    for (int i = 0; i < 2; i++) { /* the worker lives on */
        g_autoptr(GError) error = gafork_call_error(f, bad, "some reason");
        g_assert_error(error, GAFORK_ERROR, GAFORK_ERROR_DIED);
        g_assert_cmpstr(error->message, ==, "some reason");
    }
    gafork_callable_call_variant_async(GAFORK_CALLABLE(object), g_variant_new_parsed("(7,)"), NULL,
                                       NULL, gafork_on_variant, &call);
    gafork_wait(f->main_context, call.calls);
    g_assert_error(call.error, GAFORK_ERROR, GAFORK_ERROR_DIED);
    g_assert_nonnull(call.exception);
    g_autoptr(GVariant) value = gafork_bytes_to_variant(call.exception, GAFORK_SERIALISER_JSON,
                                                        G_VARIANT_TYPE("aa{sx}"), NULL);
    g_autofree char *found = g_variant_print(value, FALSE);
    g_assert_cmpstr(found, ==, "[{'reason': 7}]");
}

/* What GAforkRpc::ended told. */
struct end {
    unsigned calls, exited;
    GError *error;
    GAforkExit *exit;
};

static void on_ended(G_GNUC_UNUSED GAforkRpc *rpc, GError *error, GAforkExit *exit, gpointer data)
{
    struct end *end = data;

    end->calls++;
    end->error = error ? g_error_copy(error) : NULL;
    end->exit = exit ? gafork_exit_ref(exit) : NULL;
}

static void on_exited(G_GNUC_UNUSED GAforkProcess *process, G_GNUC_UNUSED GAforkExit *exit,
                      gpointer data)
{
    ((struct end *)data)->exited++;
}

static void end_clear(struct end *end)
{
    g_clear_error(&end->error);
    g_clear_pointer(&end->exit, gafork_exit_unref);
}

static void watch_end(GAforkRpc *rpc, struct end *end)
{
    g_signal_connect(rpc, "ended", G_CALLBACK(on_ended), end);
    g_signal_connect(gafork_rpc_get_process(rpc), "exited", G_CALLBACK(on_exited), end);
}

static void worker_ends(struct gafork_test *f)
{
    g_autoptr(GAforkRpc) rpc = gafork_calls_rpc(f, "leave", NULL);
    __attribute__((cleanup(end_clear))) struct end end = {0};

    watch_end(rpc, &end);
    g_autoptr(GError) error = gafork_call_error(f, rpc, "3");
    g_assert_error(error, GAFORK_ERROR, GAFORK_ERROR_EXITED);
    g_assert_nonnull(strstr(error->message, "exited with status 3"));
    gafork_wait(f->main_context, end.calls);
    g_assert_error(end.error, GAFORK_ERROR, GAFORK_ERROR_EXITED);
    g_assert_cmpint(gafork_exit_get_status(end.exit), ==, 3);
    g_assert_cmpstr(gafork_exit_get_stderr_tail(end.exit), ==, "leaving with 3");
    g_assert_cmpuint(end.exited, ==, 1);
    g_autoptr(GError) late = gafork_call_error(f, rpc, "4");
    g_assert_error(late, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE);
    g_assert_nonnull(strstr(late->message, "status 3"));
}

static void constructor_errors(struct gafork_test *f)
{
    g_autoptr(GAforkRpcOptions) custom = g_object_new(GAFORK_TYPE_RPC_OPTIONS, "serialiser",
                                                      GAFORK_SERIALISER_CUSTOM, NULL);
    g_autoptr(GAforkProcess) process = gafork_calls_process(f);
    g_autoptr(GError) error = NULL;

    g_assert_null(gafork_rpc_new(process, "echo", custom, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
    g_clear_error(&error);
    g_autoptr(GAforkPoolOptions)
        pool_options = g_object_new(GAFORK_TYPE_POOL_OPTIONS, "rpc", custom, NULL);
    g_assert_null(gafork_pool_new(process, "echo", pool_options, NULL));
    G_GNUC_UNUSED g_autoptr(GAforkRpc) rpc = gafork_rpc_new(process, "echo", NULL, &error);
    g_assert_no_error(error);
    g_assert_null(gafork_rpc_new(process, "echo", NULL, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
    g_clear_error(&error);
    g_assert_false(gafork_process_eval(process, "1", NULL, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
    g_clear_error(&error);
    gafork_process_close(process);
    g_assert_null(gafork_rpc_new(process, "echo", NULL, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CLOSED);
}

/* --- Options --- */

/* What a call is made with is its own: a change is for the next. */
static void options_change(struct gafork_test *f)
{
    g_autoptr(GAforkRpcOptions) json = json_options();
    g_autoptr(GAforkRpc) rpc = gafork_calls_rpc(f, "echo", json);
    g_autoptr(GAforkCallOptions) options = gafork_call_options_new();
    gafork_call_auto first = {0}, second = {0};

    g_object_set(options, "result-type", G_VARIANT_TYPE("(is)"), NULL);
    gafork_callable_call_variant_async(GAFORK_CALLABLE(rpc), g_variant_new("(is)", 1, "x"), options,
                                       NULL, gafork_on_variant, &first);
    g_object_set(options, "result-type", NULL, NULL);
    gafork_callable_call_variant_async(GAFORK_CALLABLE(rpc), g_variant_new("(is)", 1, "x"), options,
                                       NULL, gafork_on_variant, &second);
    g_object_set(options, "result-type", G_VARIANT_TYPE("as"), NULL);
    gafork_wait(f->main_context, first.calls && second.calls);
    g_assert_no_error(first.error);
    g_assert_no_error(second.error);
    g_assert_cmpstr(g_variant_get_type_string(first.variant), ==, "(is)");
    g_assert_cmpstr(g_variant_get_type_string(second.variant), ==, "av");
}

static void timeouts(struct gafork_test *f)
{
    g_autoptr(GAforkRpc) rpc = gafork_calls_rpc(f, "nap", NULL);
    g_autoptr(GAforkCallOptions)
        forever = g_object_new(GAFORK_TYPE_CALL_OPTIONS, "timeout", (gint64)-1, NULL);
    g_autoptr(GAforkCallOptions)
        soon = g_object_new(GAFORK_TYPE_CALL_OPTIONS, "timeout", (gint64)1000, NULL);
    gafork_call_auto first = {0}, second = {0}, third = {0};
    gint64 timeout;

    gafork_call_start(rpc, "100", soon, NULL, &first);
    g_object_set(rpc, "timeout", (gint64)2000, NULL);
    g_object_get(rpc, "timeout", &timeout, NULL);
    g_assert_cmpint(timeout, ==, 2000);
    gafork_call_start(rpc, "1", NULL, NULL, &second);
    gafork_call_start(rpc, "2", forever, NULL, &third);
    gafork_wait(f->main_context, first.calls && second.calls && third.calls);
    g_assert_error(first.error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
    g_assert_error(second.error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
    g_assert_no_error(third.error);
    g_assert_cmpstr(third.strv[0], ==, "2");
}

/* --- Cancelling --- */

static void cancelled(struct gafork_test *f)
{
    g_autoptr(GAforkRpc) rpc = gafork_calls_rpc(f, "nap", NULL);
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    gafork_call_auto first = {0}, second = {0}, early = {0}, other = {0};

    gafork_call_start(rpc, "50", NULL, cancellable, &first);
    gafork_call_start(rpc, "51", NULL, cancellable, &second);
    gafork_call_start(rpc, "1", NULL, NULL, &other);
    g_cancellable_cancel(cancellable);
    g_assert_cmpuint(first.calls, ==, 0);
    gafork_call_start(rpc, "1", NULL, cancellable, &early);
    gafork_wait(f->main_context, first.calls && second.calls && early.calls);
    g_assert_error(first.error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_assert_error(second.error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_assert_error(early.error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    gafork_wait(f->main_context, other.calls);
    g_assert_no_error(other.error);
    g_assert_cmpstr(other.strv[0], ==, "1");
}

static void cancel_now(struct gafork_call *call)
{
    g_cancellable_cancel(call->data);
}

/* From the callback of a call that came before; and in the turn in which it is answered. */
static void cancelled_in_callback(struct gafork_test *f)
{
    g_autoptr(GAforkRpc) rpc = gafork_calls_rpc(f, "echo", NULL);
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    gafork_call_auto first = {.action = cancel_now, .data = cancellable}, second = {0};

    gafork_call_start(rpc, "a", NULL, NULL, &first);
    gafork_call_start(rpc, "b", NULL, cancellable, &second);
    gafork_wait(f->main_context, first.calls && second.calls);
    g_assert_no_error(first.error);
    if (second.error) /* else it was answered already */
        g_assert_error(second.error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
}

static gpointer cancel_elsewhere(gpointer cancellable)
{
    g_cancellable_cancel(cancellable);
    return NULL;
}

static void close_at(G_GNUC_UNUSED GCancellable *cancellable, gpointer rpc)
{
    gafork_callable_close(rpc);
}

/* By other threads, while calls are answered; and by a handler that closes what is called. */
static void cancelled_elsewhere(struct gafork_test *f)
{
    g_autoptr(GAforkRpc) rpc = gafork_calls_rpc(f, "echo", NULL);

    for (int i = 0; i < 200; i++) {
        g_autoptr(GCancellable) cancellable = g_cancellable_new();
        struct gafork_call calls[5] = {{0}};
        for (int k = 0; k < 5; k++)
            gafork_call_start(rpc, "a", NULL, cancellable, &calls[k]);
        GThread *thread = g_thread_new("canceller", cancel_elsewhere, cancellable);
        for (int k = 0; k < 5; k++) {
            gafork_wait(f->main_context, calls[k].calls);
            if (calls[k].error)
                g_assert_error(calls[k].error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
            gafork_call_clear(&calls[k]);
        }
        g_thread_join(thread);
    }
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    gafork_call_auto call = {0};
    g_signal_connect(cancellable, "cancelled", G_CALLBACK(close_at), rpc);
    gafork_call_start(rpc, "a", NULL, cancellable, &call);
    g_cancellable_cancel(cancellable);
    gafork_wait(f->main_context, call.calls);
    gafork_settle(f);
    g_assert_cmpuint(call.calls, ==, 1);
    g_assert_nonnull(call.error);
}

/* --- Ends --- */

static void finished(struct gafork_test *f)
{
    g_autoptr(GAforkRpc) rpc = gafork_calls_rpc(f, "echo", NULL);
    __attribute__((cleanup(end_clear))) struct end end = {0};
    gafork_call_auto call = {0};

    watch_end(rpc, &end);
    gafork_call_start(rpc, "last", NULL, NULL, &call);
    gafork_callable_finish(GAFORK_CALLABLE(rpc));
    gafork_callable_finish(GAFORK_CALLABLE(rpc));
    g_autoptr(GError) error = gafork_call_error(f, rpc, "late");
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE);
    gafork_wait(f->main_context, end.calls && end.exited);
    g_assert_cmpstr(call.strv[0], ==, "last");
    g_assert_no_error(end.error);
    g_assert_cmpint(gafork_exit_get_status(end.exit), ==, 0);
    gafork_settle(f);
    g_assert_cmpuint(end.calls, ==, 1);
    g_assert_cmpuint(end.exited, ==, 1);
}

/* The process hears of its end although the rpc is gone. */
static void dropped(struct gafork_test *f)
{
    g_autoptr(GAforkProcess) process = gafork_calls_process(f);
    GAforkRpc *rpc = gafork_rpc_new(process, "echo", NULL, NULL);
    G_GNUC_UNUSED g_autofree char *text = gafork_call_one(f, rpc, "x");

    g_object_unref(rpc);
    g_assert_cmpint(gafork_exit_get_status(gafork_wait_exit(f, process)), ==, 0);
}

/* Both at once, or the process first. */
static void dropped_process(struct gafork_test *f)
{
    GAforkRpc *rpc = gafork_calls_rpc(f, "echo", NULL);
    G_GNUC_UNUSED g_autofree char *text = gafork_call_one(f, rpc, "x");

    GAforkProcess *process = g_object_ref(gafork_rpc_get_process(rpc));
    g_object_unref(rpc);
    g_object_unref(process);
    g_autoptr(GAforkRpc) other = gafork_calls_rpc(f, "echo", NULL);
    gafork_process_close(gafork_rpc_get_process(other));
    g_autoptr(GError) error = gafork_call_error(f, other, "x");
    g_test_message("%s", error->message);
}

static void closed(struct gafork_test *f)
{
    enum { N = 1000 };
    g_autoptr(GAforkRpc) rpc = gafork_calls_rpc(f, "nap", NULL);
    g_autofree struct gafork_call *calls = g_new0(struct gafork_call, N);

    for (int i = 0; i < N; i++)
        gafork_call_start(rpc, "10", NULL, NULL, &calls[i]);
    gafork_callable_close(GAFORK_CALLABLE(rpc));
    gafork_callable_close(GAFORK_CALLABLE(rpc));
    g_assert_cmpuint(calls[0].calls, ==, 0);
    gafork_wait(f->main_context, calls[N - 1].calls);
    for (int i = 0; i < N; i++) {
        g_assert_cmpuint(calls[i].calls, ==, 1);
        g_assert_error(calls[i].error, G_IO_ERROR, G_IO_ERROR_CLOSED);
        gafork_call_clear(&calls[i]);
    }
    g_autoptr(GError) error = gafork_call_error(f, rpc, "x");
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CLOSED);
    gafork_wait_exit(f, gafork_rpc_get_process(rpc));
}

/* Before the function was entered. */
static void process_closed(struct gafork_test *f)
{
    g_autoptr(GAforkRpc) rpc = gafork_calls_rpc(f, "echo", NULL);
    gafork_call_auto call = {0};

    gafork_call_start(rpc, "x", NULL, NULL, &call);
    gafork_process_close(gafork_rpc_get_process(rpc));
    gafork_wait(f->main_context, call.calls);
    g_assert_error(call.error, G_IO_ERROR, G_IO_ERROR_CLOSED);
}

/* A task that is none of ours may have any data. */
static void foreign_task(struct gafork_test *f)
{
    g_autoptr(GAforkRpc) rpc = gafork_calls_rpc(f, "echo", NULL);
    g_autoptr(GTask) task = g_task_new(rpc, NULL, NULL, NULL);

    g_task_set_task_data(task, g_strdup("data of somebody else"), g_free);
    g_task_return_boolean(task, TRUE);
    g_test_expect_message("afork-glib", G_LOG_LEVEL_CRITICAL, "*is_call*");
    g_assert_null(gafork_call_get_exception(G_ASYNC_RESULT(task)));
    g_test_assert_expected_messages();
}

int main(int argc, char **argv)
{
    gafork_test_init(&argc, &argv);
    gafork_calls_add("/gafork/calls/strings", strings);
    gafork_calls_add("/gafork/calls/octets", octets);
    gafork_calls_add("/gafork/calls/variants", variants);
    gafork_calls_add("/gafork/calls/bad-arguments", bad_arguments);
    gafork_add("/gafork/calls/bad-octets", bad_octets);
    gafork_calls_add("/gafork/calls/descriptors", descriptors);
    gafork_calls_add("/gafork/calls/exceptions", exceptions);
    gafork_calls_add("/gafork/calls/worker-ends", worker_ends);
    gafork_calls_add("/gafork/calls/constructor-errors", constructor_errors);
    gafork_calls_add("/gafork/calls/options-change", options_change);
    gafork_calls_add("/gafork/calls/timeouts", timeouts);
    gafork_calls_add("/gafork/calls/cancelled", cancelled);
    gafork_calls_add("/gafork/calls/cancelled/in-callback", cancelled_in_callback);
    gafork_calls_add("/gafork/calls/cancelled/elsewhere", cancelled_elsewhere);
    gafork_calls_add("/gafork/calls/finished", finished);
    gafork_calls_add("/gafork/calls/dropped", dropped);
    gafork_calls_add("/gafork/calls/dropped/process", dropped_process);
    gafork_calls_add("/gafork/calls/closed", closed);
    gafork_calls_add("/gafork/calls/closed/process", process_closed);
    gafork_calls_add("/gafork/calls/foreign-task", foreign_task);
    return g_test_run();
}
