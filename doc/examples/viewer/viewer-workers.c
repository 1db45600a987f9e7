/* SPDX-License-Identifier: MIT */
#include "viewer-workers.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "viewer-answer.h"

enum {
    MEGAPIXELS_MAX = 200,
    MEMORY_MAX_MB = 2048, /* of address space, for the worst of such pictures */
    TIMEOUT = 30, /* seconds */
    ANSWER_MAX = 64 * 1024,
    FAILURES_MAX = 10, /* workers that are killed one after the other */
    CALLS_MAX = 500,   /* of one worker: what decoders leak goes with it */
    SPARES = 1,
    END_MS = 50, /* that is waited for the end of a killed worker */
};

struct _ViewerWorkers {
    GObject parent_instance;

    char *directory, *token;
    guint box, timeout;
    guint memory_max, calls_max; /* MB, and calls, of one worker */
    GAforkContext *context; /* NULL: nothing was started */
    GAforkProcess *template;
    GAforkPool *thumbnails, *singles;
    gboolean proven; /* these have answered */
    gboolean closed;
    char *message;
};

enum { PROP_MESSAGE = 1, PROP_POOL, N_PROPS };

static GParamSpec *props[N_PROPS];

G_DEFINE_TYPE(ViewerWorkers, viewer_workers, G_TYPE_OBJECT)

G_DEFINE_QUARK(viewer-error, viewer_error)

void viewer_workers_set_message(ViewerWorkers *self, const char *message)
{
    if (g_strcmp0(self->message, message) == 0)
        return;
    g_free(self->message);
    self->message = g_strdup(message);
    g_object_notify_by_pspec(G_OBJECT(self), props[PROP_MESSAGE]);
}

/* --- Start --- */

/* Such as of what the kernel cannot confine: nobody is to be kept from looking at pictures by that. */
static void on_warning(GAforkContext *context, GAforkProcess *process, const char *text, gpointer data)
{
    g_message("%s", text);
}

static GAforkContext *make_context(void)
{
    const char *perl_dir = g_getenv("AFORK_THUMBNAILS_LIB");
    const char *include_dirs[] = {perl_dir ? perl_dir : AFORK_PERL_LIBDIR, NULL};

    /* Results come behind what is drawn. */
    GAforkContext *context = g_object_new(GAFORK_TYPE_CONTEXT, "include-dirs", include_dirs,
                                          "new-session", TRUE, "standard-error", GAFORK_STDIO_NULL,
                                          "priority", GDK_PRIORITY_REDRAW + 5, NULL);
    g_signal_connect(context, "warning", G_CALLBACK(on_warning), NULL);
    return context;
}

/* A process with all that is needed to decode; workers are forked from it. */
static GAforkProcess *make_template(ViewerWorkers *self, GError **error)
{
    const char *modules[] = {"AFork::Thumbnail", NULL};
    g_autofree char *box = g_strdup_printf("%u", self->box);
    g_autofree char *max_pixels = g_strdup_printf("%u", MEGAPIXELS_MAX * 1000 * 1000);
    const char *arguments[] = {self->directory, box, max_pixels, self->token};
    g_autoptr(GBytes) code = g_resources_lookup_data("/org/afork/Viewer/decode.pl",
                                                     G_RESOURCE_LOOKUP_FLAGS_NONE, error);
    g_autoptr(GAforkProcess) template = code ? gafork_process_new_exec(self->context, error) : NULL;

    if (!template || !gafork_process_require(template, modules, error) ||
        !gafork_process_eval_bytes(template, code, NULL, error))
        return NULL;
    for (gsize i = 0; i < G_N_ELEMENTS(arguments); i++)
        if (!gafork_process_send_arg(template, arguments[i], error))
            return NULL;
    return g_steal_pointer(&template);
}

#ifndef __has_feature /* clang's */
#define __has_feature(name) 0
#endif

static guint64 memory_max(ViewerWorkers *self)
{
#if defined __SANITIZE_ADDRESS__ || __has_feature(address_sanitizer)
    return 0; /* the sanitizer needs terabytes */
#else
    return (guint64)self->memory_max * 1000 * 1000;
#endif
}

/* A worker is what a picture may take over. It can write thumbnails and the temporary files of decoders,
 * and reach nobody but the viewer. What it reads is not confined: pictures may be anywhere. (Decoders that
 * run programs of their own, as newer ones of GdkPixbuf do for their sandboxes, would have to be allowed
 * processes.) */
static GAforkLimits *make_limits(ViewerWorkers *self, gboolean single)
{
    const char *places[] = {self->directory, g_get_tmp_dir()};
    g_autoptr(GStrvBuilder) writable = g_strv_builder_new();

    for (gsize i = 0; i < G_N_ELEMENTS(places); i++)
        if (g_file_test(places[i], G_FILE_TEST_IS_DIR)) /* else no worker would start */
            g_strv_builder_add(writable, places[i]);
    g_auto(GStrv) write_paths = g_strv_builder_end(writable);
    return g_object_new(GAFORK_TYPE_LIMITS, "memory", memory_max(self), "no-network", TRUE,
                        "no-new-processes", TRUE, "no-signals", TRUE, "write-paths", write_paths,
                        "unsupported", GAFORK_UNSUPPORTED_WARN,
                        "nice", single ? 0 : 5, /* what is drawn comes first */
                        NULL);
}

static GAforkPoolOptions *make_options(ViewerWorkers *self, gboolean single)
{
    g_autoptr(GAforkRpcOptions) rpc = g_object_new(GAFORK_TYPE_RPC_OPTIONS, "init", "Viewer::init",
                                                   "reply-max", ANSWER_MAX, NULL);
    g_autoptr(GAforkLimits) limits = make_limits(self, single);

    return g_object_new(GAFORK_TYPE_POOL_OPTIONS, "rpc", rpc, "limits", limits, "max-failures",
                        FAILURES_MAX, "retire-calls", (guint64)self->calls_max, "single-call", single,
                        "spares", single ? SPARES : 0, "crash",
                        single ? GAFORK_CRASH_FAIL : GAFORK_CRASH_RETRY_ONCE, "start", (gint64)0,
                        NULL);
}

/* What a worker leaves that is killed. */
static GFile *temporary(ViewerWorkers *self, GAforkWorker *worker)
{
    g_autofree char *name = g_strdup_printf("%s-%d.tmp", self->token, gafork_worker_get_pid(worker));

    return g_file_new_build_filename(self->directory, name, NULL);
}

static void on_worker_exited(GAforkPool *pool, GAforkWorker *worker, GAforkExit *exit, gpointer data)
{
    g_autoptr(GFile) file = temporary(data, worker);

    g_file_delete_async(file, G_PRIORITY_LOW, NULL, NULL, NULL);
}

struct leaving {
    GFile *file; /* that it may leave */
    int pidfd;   /* negative: unknown */
};

/* The worker has been killed, but what it has asked the kernel for last, a file too, may still come to
 * be: that takes a moment. */
static void leave(gpointer data)
{
    struct leaving *leaving = data;
    struct pollfd end = {leaving->pidfd, POLLIN, 0};

    poll(&end, leaving->pidfd >= 0, END_MS);
    close(leaving->pidfd);
    g_file_delete(leaving->file, NULL, NULL); /* now: there may be no later */
    g_object_unref(leaving->file);
    g_free(leaving);
}

static void close_thumbnails(ViewerWorkers *self)
{
    GListModel *workers = gafork_pool_get_workers(self->thumbnails);
    g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func(leave);

    for (guint i = 0; i < g_list_model_get_n_items(workers); i++) {
        g_autoptr(GAforkWorker) worker = g_list_model_get_item(workers, i);
        struct leaving *leaving = g_new(struct leaving, 1);
        leaving->file = temporary(self, worker);
        leaving->pidfd = (int)syscall(SYS_pidfd_open, gafork_worker_get_pid(worker), 0);
        g_ptr_array_add(all, leaving);
    }
    g_signal_handlers_disconnect_by_data(self->thumbnails, self);
    gafork_callable_close(GAFORK_CALLABLE(self->thumbnails));
}

static void stop(ViewerWorkers *self)
{
    if (!self->context)
        return;
    if (self->thumbnails)
        close_thumbnails(self);
    if (self->singles)
        gafork_callable_close(GAFORK_CALLABLE(self->singles));
    gafork_context_close(self->context);
    g_clear_object(&self->thumbnails);
    g_clear_object(&self->singles);
    g_clear_object(&self->template);
    g_clear_object(&self->context);
    g_object_notify_by_pspec(G_OBJECT(self), props[PROP_POOL]);
}

static gboolean start(ViewerWorkers *self, GError **error)
{
    if (self->singles)
        return TRUE;
    g_autoptr(GAforkPoolOptions) options = make_options(self, FALSE);
    g_autoptr(GAforkPoolOptions) single_options = make_options(self, TRUE);
    self->proven = FALSE;
    self->context = make_context();
    self->template = make_template(self, error);
    if (self->template)
        self->thumbnails = gafork_pool_new(self->template, "Viewer::work", options, error);
    if (self->thumbnails)
        self->singles = gafork_pool_new(self->template, "Viewer::work", single_options, error);
    if (!self->singles) {
        stop(self);
        return FALSE;
    }
    g_signal_connect(self->thumbnails, "worker-exited", G_CALLBACK(on_worker_exited), self);
    g_object_notify_by_pspec(G_OBJECT(self), props[PROP_POOL]);
    return TRUE;
}

/* --- Calls --- */

static gboolean is_current(ViewerWorkers *self, GAforkPool *pool)
{
    return pool == self->thumbnails || pool == self->singles;
}

static void on_answer(GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr(GTask) task = data;
    ViewerWorkers *self = g_task_get_source_object(task);
    g_autoptr(GUnixFDList) fds = NULL;
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) bytes = gafork_callable_call_fds_finish(GAFORK_CALLABLE(source), result, &fds,
                                                              &error);
    g_auto(GStrv) answer = bytes ? gafork_bytes_to_strv(bytes, &error) : NULL;

    if (answer) {
        self->proven |= is_current(self, GAFORK_POOL(source));
        viewer_answer_return(task, answer, fds);
    } else {
        viewer_answer_return_error(task, GAFORK_POOL(source), error);
    }
}

static void send(ViewerWorkers *self, GTask *task)
{
    struct viewer_call *call = g_task_get_task_data(task);
    g_autoptr(GError) error = NULL;

    if (self->closed) {
        g_task_return_new_error(task, VIEWER_ERROR, VIEWER_ERROR_OTHER, "the program ends");
        return;
    }
    if (!start(self, &error)) {
        viewer_workers_set_message(self, error->message);
        g_task_return_new_error(task, VIEWER_ERROR, VIEWER_ERROR_WORKERS, "%s", error->message);
        return;
    }
    gafork_callable_call_fds_async(
        GAFORK_CALLABLE(call->single ? self->singles : self->thumbnails), call->arguments,
        call->options, g_task_get_cancellable(task), on_answer, g_object_ref(task));
}

gboolean viewer_workers_call_again(ViewerWorkers *self, GTask *task, GAforkPool *pool)
{
    gboolean current = is_current(self, pool);

    if (self->closed || g_cancellable_is_cancelled(g_task_get_cancellable(task)))
        return FALSE;
    if (current && (!self->proven || self->message))
        return FALSE;
    if (current)
        stop(self);
    send(self, task);
    return TRUE;
}

static void call_free(gpointer data)
{
    struct viewer_call *call = data;

    g_bytes_unref(call->arguments);
    g_object_unref(call->options);
    g_free(call->trouble);
    g_free(call);
}

static GBytes *pack(const char *const *arguments, guint box)
{
    g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
    g_autofree char *last = g_strdup_printf("%u", box);

    g_strv_builder_addv(builder, (const char **)arguments);
    g_strv_builder_add(builder, last);
    g_auto(GStrv) all = g_strv_builder_end(builder);
    return gafork_strv_to_bytes((const char *const *)all, NULL);
}

void viewer_workers_call_async(ViewerWorkers *self, gboolean single, const char *const *arguments,
                               guint box, GAforkCallOptions *options, GCancellable *cancellable,
                               GAsyncReadyCallback callback, gpointer user_data)
{
    g_autoptr(GTask) task = g_task_new(self, cancellable, callback, user_data);
    struct viewer_call *call = g_new(struct viewer_call, 1);

    *call = (struct viewer_call){single, pack(arguments, box), box, g_object_ref(options)};
    g_task_set_task_data(task, call, call_free);
    g_object_set(options, "run-timeout", (gint64)self->timeout * G_USEC_PER_SEC, "cancel-mode",
                 single ? GAFORK_CANCEL_MODE_KILL : GAFORK_CANCEL_MODE_ABANDON, NULL);
    send(self, task);
}

GdkTexture *viewer_workers_finish(ViewerWorkers *self, GAsyncResult *result, char **trouble,
                                  GError **error)
{
    struct viewer_call *call = g_task_get_task_data(G_TASK(result));

    if (trouble)
        *trouble = g_strdup(call->trouble);
    return g_task_propagate_pointer(G_TASK(result), error);
}

/* --- GObject --- */

static void viewer_workers_get_property(GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
    ViewerWorkers *self = VIEWER_WORKERS(object);

    if (id == PROP_MESSAGE)
        g_value_set_string(value, self->message);
    else
        g_value_set_object(value, self->thumbnails);
}

static void viewer_workers_finalize(GObject *object)
{
    ViewerWorkers *self = VIEWER_WORKERS(object);

    stop(self);
    g_free(self->directory);
    g_free(self->token);
    g_free(self->message);
    G_OBJECT_CLASS(viewer_workers_parent_class)->finalize(object);
}

static void viewer_workers_class_init(ViewerWorkersClass *klass)
{
    GObjectClass *object_class = G_OBJECT_CLASS(klass);
    const GParamFlags flags = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;

    object_class->get_property = viewer_workers_get_property;
    object_class->finalize = viewer_workers_finalize;
    props[PROP_MESSAGE] = g_param_spec_string("message", NULL, NULL, NULL, flags);
    props[PROP_POOL] = g_param_spec_object("pool", NULL, NULL, GAFORK_TYPE_POOL, flags);
    g_object_class_install_properties(object_class, N_PROPS, props);
}

static void viewer_workers_init(ViewerWorkers *self)
{
    self->timeout = TIMEOUT;
    self->memory_max = MEMORY_MAX_MB;
    self->calls_max = CALLS_MAX;
}

ViewerWorkers *viewer_workers_new(const char *directory, guint box)
{
    ViewerWorkers *self = g_object_new(VIEWER_TYPE_WORKERS, NULL);
    g_autofree char *uuid = g_uuid_string_random();

    self->directory = g_strdup(directory);
    self->box = box;
    self->token = g_strconcat("afork-viewer-", uuid, NULL);
    return self;
}

void viewer_workers_set_timeout(ViewerWorkers *self, guint seconds)
{
    self->timeout = seconds;
}

void viewer_workers_set_limits(ViewerWorkers *self, guint megabytes, guint calls)
{
    self->memory_max = megabytes;
    self->calls_max = calls;
}

const char *viewer_workers_get_message(ViewerWorkers *self)
{
    return self->message;
}

GAforkPool *viewer_workers_get_pool(ViewerWorkers *self)
{
    return self->thumbnails;
}

void viewer_workers_retry(ViewerWorkers *self)
{
    stop(self);
    viewer_workers_set_message(self, NULL);
}

void viewer_workers_close(ViewerWorkers *self)
{
    self->closed = TRUE;
    stop(self);
}
