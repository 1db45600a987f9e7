/* SPDX-License-Identifier: MIT
 *
 * The fixture of test-gobject.h, and what stands in for contexts and processes; for calls and those
 * who carry them it is in test-gobject-calls.c.
 */
#include "test-gobject-lib.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#undef test_add_data
#undef g_test_run
#undef g_test_skip

/* ---- What is left out ---- */

/* Cases that are about what the GObject layer has no counterpart for. */
static const struct {
    const char *file, *path, *reason;
} left_out[] = {
    {"test-rpc.c", "/rpc/results-can-be-stolen", "a GBytes is the caller's anyway"},
    {"test-rpc.c", "/rpc/descriptors/bad", "a GUnixFDList holds no bad ones; -1 is no limit"},
    {"test-rpc.c", "/rpc/cancel/refused", "a cancellation is not refused"},
    {"test-rpc-ends.c", "/rpc/keep-alive", "a main loop does not end by itself"},
    {"test-pool.c", "/pool/cancel-refused", "a cancellation is not refused"},
    {"test-pool.c", "/pool/misuse", "NULL and what is out of range are critical warnings"},
    {"test-pool-ends.c", "/pool/starts/mended-by-the-first",
     "calls return on a later turn; test-gafork-pool.c has the same, by a signal"},
    {"test-pool-chaos.c", "/pool/chaos/host", "its host is a copy, in which GLib does not work"},
    {"test-pool-close.c", "/pool/copy", "in a copy no main loop runs, by which calls return"},
    {"test-pool-size.c", "/pool/retire/leaks", "not for want of one: it takes many seconds"},
    {"test-pool-peers.c", "/pool/keep-alive", "a main loop does not end by itself"},
};

static bool was_added[G_N_ELEMENTS(left_out)];

static bool is_left_out(const char *path)
{
    bool found = false;

    for (size_t i = 0; i < G_N_ELEMENTS(left_out); i++)
        if (g_str_equal(left_out[i].path, path))
            found = was_added[i] = true;
    return found;
}

int gobject_test_run(const char *file)
{
    g_autofree char *name = g_path_get_basename(file);

    for (size_t i = 0; i < G_N_ELEMENTS(left_out); i++) {
        g_autofree char *path = g_build_filename(g_getenv("AFORK_TEST_SRCDIR"), "tests",
                                                 left_out[i].file, NULL);
        bool is_here = g_str_equal(left_out[i].file, name);
        if (is_here && test_has_sanitizers()) /* with which not all cases are added */
            was_added[i] = true;
        if (!g_file_test(path, G_FILE_TEST_EXISTS) || was_added[i] != is_here)
            g_error("%s of %s is to be left out, but is no case", left_out[i].path,
                    left_out[i].file);
    }
    return g_test_run();
}

/* ---- The loop ---- */

static void *loop_new(void)
{
    return test_loop_glib.new();
}

static struct afork_loop *loop_get(void *self)
{
    return test_loop_glib.get(self);
}

static void loop_turn(void *self, int64_t usec)
{
    test_loop_glib.turn(self, usec);
}

static void loop_free(void *self)
{
    test_loop_glib.free(self);
}

static void loop_free_copy(void *self)
{
    test_loop_glib.free_copy(self);
}

const struct test_loop_type gobject_loop = {"gobject", loop_new,  loop_get,
                                            loop_turn, loop_free, loop_free_copy};
const struct test_loop_type *const gobject_loop_types[] = {&gobject_loop, NULL};

/* ---- The case ---- */

unsigned gobject_n_made;
static bool is_skipped;
static unsigned n_contexts; /* objects that are there */

struct gobject_case {
    test_func *func;
    void *data;
};

static void context_gone(G_GNUC_UNUSED gpointer data, G_GNUC_UNUSED GObject *object)
{
    n_contexts--;
}

void gobject_test_skip(const char *reason)
{
    is_skipped = true;
    g_test_skip(reason);
}

static void run_case(struct test *t)
{
    struct gobject_case *c = t->data;

    t->data = c->data;
    gobject_n_made = 0;
    is_skipped = false;
    c->func(t);
    gobject_context_close(t->context);
    t->context = NULL;
    test_wait(t, !n_contexts);
    g_assert_true(gobject_n_made || is_skipped);
    g_free(c->data);
    c->data = NULL;
}

void gobject_add_data(const struct test_loop_type *type, const char *path, test_func *func,
                      void *data)
{
    g_main_context_default();
    g_type_ensure(G_TYPE_TASK); /* a thread, with a main context, which stay */
    if (is_left_out(path)) {
        g_free(data);
        return;
    }
    struct gobject_case *c = g_new(struct gobject_case, 1);
    *c = (struct gobject_case){func, data};
    test_add_data(type, path, run_case, c);
}

/* ---- Errors and ends ---- */

static int error_of_process(int code)
{
    switch (code) {
    case GAFORK_ERROR_EVAL:
    case GAFORK_ERROR_REQUIRE:
    case GAFORK_ERROR_FUNCTION:
        return -ENOEXEC;
    case GAFORK_ERROR_FORK:
        return -EAGAIN;
    case GAFORK_ERROR_PROTOCOL:
        return -EPROTO;
    case GAFORK_ERROR_LIMITS:
        return -EPERM;
    case GAFORK_ERROR_DIED:
        return -EREMOTEIO;
    case GAFORK_ERROR_BROKEN:
        return -EIO;
    default:
        return -ECONNRESET;
    }
}

int gobject_error(const GError *error)
{
    static const int codes[][2] = {
        {G_IO_ERROR_TIMED_OUT, -ETIMEDOUT},     {G_IO_ERROR_CANCELLED, -ECANCELED},
        {G_IO_ERROR_CLOSED, -ESHUTDOWN},        {G_IO_ERROR_BROKEN_PIPE, -EPIPE},
        {G_IO_ERROR_NO_SPACE, -ENOSPC},         {G_IO_ERROR_MESSAGE_TOO_LARGE, -EMSGSIZE},
        {G_IO_ERROR_NOT_SUPPORTED, -ENOTSUP},   {G_IO_ERROR_NOT_FOUND, -ENOENT},
        {G_IO_ERROR_INVALID_ARGUMENT, -EINVAL},
    };

    if (!error)
        return 0;
    if (error->domain == GAFORK_ERROR)
        return error_of_process(error->code);
    g_assert_true(error->domain == G_IO_ERROR);
    for (size_t i = 0; i < G_N_ELEMENTS(codes); i++)
        if (codes[i][0] == error->code)
            return codes[i][1];
    g_error("no error of the core: %s", error->message);
}

int gobject_result(gboolean good, GError *error)
{
    g_assert_true(good == !error);
    int result = gobject_error(error);
    g_clear_error(&error);
    return result;
}

void gobject_check_cause(const GError *error, GAforkExit *exit)
{
    int result = gobject_error(error), cause = exit ? (int)gafork_exit_get_cause(exit) : 0;

    if (!error || error->domain != GAFORK_ERROR)
        return;
    if (result == -EIO)
        return; /* of the last worker, whatever it failed of */
    if (result == -ECONNRESET || cause > GAFORK_CAUSE_SIGNALLED)
        g_assert_cmpint(error->code, ==, cause);
    else if (result == -ENOEXEC)
        g_assert_cmpint(error->code, ==, GAFORK_ERROR_FUNCTION);
}

const struct afork_exit *gobject_exit(GAforkExit *exit, struct afork_exit *ret)
{
    if (!exit)
        return NULL;
    *ret = (struct afork_exit){
        .cause = (enum afork_cause)gafork_exit_get_cause(exit),
        .message = gafork_exit_get_message(exit),
        .wait_status = gafork_exit_get_wait_status(exit),
        .status = gafork_exit_get_status(exit),
        .has_usage = gafork_exit_get_max_rss(exit) >= 0,
        .stderr_tail = gafork_exit_get_stderr_tail(exit),
        .stderr_tail_len = strlen(gafork_exit_get_stderr_tail(exit)),
    };
    if (ret->has_usage)
        ret->usage.ru_maxrss = (long)(gafork_exit_get_max_rss(exit) / 1024);
    return ret;
}

/* ---- Contexts ---- */

struct afork_context *gobject_context(struct test *t)
{
    const struct afork_context_options *options = &t->options;

    if (t->context)
        return t->context;
    t->context = g_new0(struct afork_context, 1);
    t->context->refs = 1;
    t->context->object = g_object_new(
        GAFORK_TYPE_CONTEXT, "perl", options->perl, "peer", (int)options->peer, "serve-module",
        options->serve_module, "include-dirs", options->include_dirs, "environment-changes",
        options->environment_changes, "standard-error", (int)options->standard_error.mode, NULL);
    n_contexts++;
    g_object_weak_ref(G_OBJECT(t->context->object), context_gone, NULL);
    return t->context;
}

void gobject_context_unref(struct afork_context *self)
{
    if (--self->refs)
        return;
    g_object_unref(self->object);
    g_free(self);
}

void gobject_context_close(struct afork_context *self)
{
    if (!self)
        return;
    self->closed = true;
    gafork_context_close(self->object);
    while (self->alive)
        gobject_callee_end(self->alive->data);
    gobject_context_unref(self);
}

/* ---- Processes ---- */

static struct afork_process *process_of(struct afork_context *context, GAforkProcess *object)
{
    struct afork_process *self = g_new0(struct afork_process, 1);

    self->refs = 1;
    self->context = context;
    self->object = object;
    context->refs++;
    return self;
}

int gobject_process_new(struct afork_context *context, struct afork_process **ret)
{
    GError *error = NULL;
    GAforkProcess *object = gafork_process_new(context->object, &error);

    gobject_n_made++;
    if (object)
        *ret = process_of(context, object);
    return gobject_result(object != NULL, error);
}

struct afork_process *gobject_new(struct test *t)
{
    struct afork_process *process;

    test_ok(gobject_process_new(gobject_context(t), &process));
    return process;
}

int gobject_process_fork(struct afork_process *self, struct afork_process **ret)
{
    GError *error = NULL;
    GAforkProcess *object = gafork_process_fork(self->object, &error);

    if (object)
        *ret = process_of(self->context, object);
    return gobject_result(object != NULL, error);
}

int gobject_process_eval(struct afork_process *self, const char *code, ...)
{
    g_autoptr(GPtrArray) strings = g_ptr_array_new();
    GError *error = NULL;
    va_list arguments;
    char *string;

    va_start(arguments, code);
    do
        g_ptr_array_add(strings, string = va_arg(arguments, char *));
    while (string);
    va_end(arguments);
    gboolean good = gafork_process_eval(self->object, code, (const char *const *)strings->pdata,
                                        &error);
    return gobject_result(good, error);
}

int gobject_process_send_arg(struct afork_process *self, const void *data, size_t len)
{
    g_autoptr(GBytes) octets = g_bytes_new(data, len);
    GError *error = NULL;
    gboolean good = gafork_process_send_bytes(self->object, octets, &error);

    return gobject_result(good, error);
}

static void on_exited(G_GNUC_UNUSED GAforkProcess *object, GAforkExit *exit, gpointer data)
{
    struct afork_process *self = data;
    struct afork_exit end;

    self->on_exit(self, gobject_exit(exit, &end), self->exit_data);
    gobject_process_unref(self);
}

/* Whoever wants to hear of the end holds the object. */
int gobject_process_on_exit(struct afork_process *self, afork_exit_cb *cb, void *data)
{
    g_assert_true(cb && !self->on_exit);
    self->on_exit = cb;
    self->exit_data = data;
    self->refs++;
    g_signal_connect(self->object, "exited", G_CALLBACK(on_exited), self);
    return 0;
}

pid_t gobject_process_peer_pid(struct afork_process *self)
{
    return self->worker ? gafork_worker_get_pid(self->worker)
                        : gafork_process_get_peer_pid(self->object);
}

int gobject_process_kill(struct afork_process *self, int signal)
{
    GError *error = NULL;
    gboolean good = gafork_process_kill(self->object, signal, &error);

    return gobject_result(good, error);
}

void gobject_process_close(struct afork_process *self)
{
    gafork_process_close(self->object);
}

void gobject_process_unref(struct afork_process *self)
{
    if (!self || --self->refs)
        return;
    g_object_unref(self->object);
    gobject_context_unref(self->context);
    g_free(self);
}

static void on_run(GObject *object, GAsyncResult *result, gpointer data)
{
    g_autoptr(GError) error = NULL;

    *(GSocketConnection **)data = gafork_process_run_finish(GAFORK_PROCESS(object), result, &error);
    g_assert_no_error(error);
}

int gobject_run_and_unref(struct test *t, struct afork_process *self, const char *function)
{
    g_autoptr(GSocketConnection) connection = NULL;

    gafork_process_run_async(self->object, function, NULL, on_run, &connection);
    test_wait(t, connection);
    gobject_process_unref(self);
    return dup(g_socket_get_fd(g_socket_connection_get_socket(connection)));
}
