/* SPDX-License-Identifier: MIT
 *
 * A context and a pool of its own, so that all of it ends with the plugin.
 */
#include "reviewer.h"

#include <afork/afork-glib.h>
#include <string.h>

enum {
    WORKERS = 2,
    SECONDS = 20,        /* for one review */
    MEMORY = 512 << 20,  /* octets, for one worker */
    TEXT_MAX = 16 << 20, /* octets */
    REPLY_MAX = 1 << 20, /* octets */
};

struct reviewer {
    guint refs;
    char *perl_dir;
    GAforkContext *context; /* NULL until the first review, and after a failure to start */
    GAforkProcess *server;  /* the same */
    GAforkPool *pool;       /* the same */
    gboolean server_ended;
    GAforkCallOptions *call_options;
};

static struct reviewer *the_reviewer;

struct reviewer *reviewer_get(const char *perl_dir)
{
    if (!the_reviewer) {
        the_reviewer = g_new0(struct reviewer, 1);
        the_reviewer->perl_dir = g_strdup(perl_dir);
        /* What is not wanted any more makes room at once. */
        the_reviewer->call_options =
            g_object_new(GAFORK_TYPE_CALL_OPTIONS, "cancel-mode", GAFORK_CANCEL_MODE_KILL,
                         "run-timeout", (gint64)SECONDS * G_USEC_PER_SEC, NULL);
    }
    the_reviewer->refs++;
    return the_reviewer;
}

static void stop(struct reviewer *self)
{
    if (self->server)
        g_signal_handlers_disconnect_by_data(self->server, self);
    if (self->pool)
        gafork_callable_close(GAFORK_CALLABLE(self->pool));
    if (self->context)
        gafork_context_close(self->context);
    g_clear_object(&self->pool);
    g_clear_object(&self->server);
    g_clear_object(&self->context);
    self->server_ended = FALSE;
}

void reviewer_unref(struct reviewer *self)
{
    if (--self->refs)
        return;
    the_reviewer = NULL;
    stop(self);
    g_object_unref(self->call_options);
    g_free(self->perl_dir);
    g_free(self);
}

/* A text is a stranger's: the workers, which parse it, can do nothing else. */
static GAforkPool *new_pool(GAforkProcess *process, GError **error)
{
    g_autoptr(GAforkLimits) limits =
        g_object_new(GAFORK_TYPE_LIMITS, "memory", (guint64)MEMORY, "no-network", TRUE,
                     "no-new-processes", TRUE, "nice", 5, "unsupported", GAFORK_UNSUPPORTED_WARN,
                     NULL);
    g_autoptr(GAforkRpcOptions) rpc =
        g_object_new(GAFORK_TYPE_RPC_OPTIONS, "reply-max", (guint)REPLY_MAX, NULL);
    g_autoptr(GAforkPoolOptions) options =
        g_object_new(GAFORK_TYPE_POOL_OPTIONS, "max", WORKERS, "load", 1, "start", (gint64)0,
                     "max-failures", 2, "limits", limits, "rpc", rpc, NULL);

    return gafork_pool_new(process, "AforkReview::review", options, error);
}

/* Calls under way learn what happened from the pool. */
static void on_server_exited(struct reviewer *self)
{
    self->server_ended = TRUE;
}

static gboolean start(struct reviewer *self, GError **error)
{
    const char *directories[] = {self->perl_dir, NULL}, *modules[] = {"AforkReview", NULL};

    /* Somebody killed it, or there is no perl that knows the module: from the start again. */
    if (self->pool && (self->server_ended || gafork_pool_get_broken(self->pool)))
        stop(self);
    if (self->pool)
        return TRUE;
    self->context = g_object_new(GAFORK_TYPE_CONTEXT, "include-dirs", directories, "new-session",
                                 TRUE, NULL);
    self->server = gafork_process_new_exec(self->context, error);
    if (self->server && gafork_process_require(self->server, modules, error))
        self->pool = new_pool(self->server, error);
    if (!self->pool) {
        stop(self);
        return FALSE;
    }
    g_signal_connect_swapped(self->server, "exited", G_CALLBACK(on_server_exited), self);
    return TRUE;
}

static void on_reviewed(GObject *pool, GAsyncResult *result, gpointer data)
{
    g_autoptr(GTask) task = data;
    GError *error = NULL;
    char **strings = gafork_callable_call_strv_finish(GAFORK_CALLABLE(pool), result, &error);

    if (error)
        g_task_return_error(task, error);
    else
        g_task_return_pointer(task, strings, (GDestroyNotify)g_strfreev);
}

void reviewer_review_async(struct reviewer *self, const char *text, const char *language,
                           GCancellable *cancellable, GAsyncReadyCallback callback, gpointer data)
{
    const char *arguments[] = {text, language, NULL};
    GTask *task = g_task_new(NULL, cancellable, callback, data);
    GError *error = NULL;

    if (strlen(text) > TEXT_MAX)
        error = g_error_new(G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                            "Documents of more than %d MiB are not reviewed", TEXT_MAX >> 20);
    if (!error && start(self, &error)) {
        gafork_callable_call_strv_async(GAFORK_CALLABLE(self->pool), arguments, self->call_options,
                                        cancellable, on_reviewed, task);
        return;
    }
    g_task_return_error(task, error);
    g_object_unref(task);
}

char **reviewer_review_finish(GAsyncResult *result, GError **error)
{
    return g_task_propagate_pointer(G_TASK(result), error);
}
