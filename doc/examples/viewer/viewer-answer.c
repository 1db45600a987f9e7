/* SPDX-License-Identifier: MIT
 *
 * What answers and their absence mean: a texture, a picture that is broken, no workers.
 */
#include "viewer-answer.h"

#include <string.h>

#include "viewer-pixels.h"

static void fail(GTask *task, ViewerError code, const char *text)
{
    g_task_return_new_error(task, VIEWER_ERROR, (int)code, "%s", text);
}

/* Whether the call, its pool or its context was ended from here. */
static gboolean is_end(const GError *error)
{
    return g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED) ||
           g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CLOSED);
}

/* Whether it is not about a picture: no worker began. */
static gboolean is_about_workers(const GError *error)
{
    if (error->domain != GAFORK_ERROR)
        return FALSE;
    switch ((GAforkError)error->code) {
    case GAFORK_ERROR_START:
    case GAFORK_ERROR_EVAL:
    case GAFORK_ERROR_REQUIRE:
    case GAFORK_ERROR_FUNCTION:
    case GAFORK_ERROR_FORK:
    case GAFORK_ERROR_LIMITS:
    case GAFORK_ERROR_BROKEN:
        return TRUE;
    default:
        return FALSE;
    }
}

/* One line; of what perl says about a module that is not there, without the folders it tried. */
static char *first_line(const char *message)
{
    g_autofree char *line = g_strndup(message, strcspn(message, "\n"));
    char *folders = strstr(line, " (@INC contains");

    if (folders)
        *folders = '\0';
    return g_steal_pointer(&line);
}

/* There was no answer. */
static void return_error(GTask *task, GAforkPool *pool, GError *error)
{
    ViewerWorkers *self = g_task_get_source_object(task);
    gboolean nobody = is_about_workers(error) || gafork_pool_get_broken(pool);
    g_autofree char *line = g_error_matches(error, GAFORK_ERROR, GAFORK_ERROR_UNKNOWN)
                                ? g_strdup("the process that starts workers has ended")
                                : first_line(error->message);

    if ((nobody || is_end(error)) && viewer_workers_call_again(self, task, pool))
        return;
    if (is_end(error)) {
        g_task_return_error(task, g_error_copy(error));
    } else if (nobody) {
        if (!viewer_workers_get_message(self)) /* the first is the most precise */
            viewer_workers_set_message(self, line);
        fail(task, VIEWER_ERROR_WORKERS, "there is nobody to decode it");
    } else if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT)) {
        fail(task, VIEWER_ERROR_PICTURE, "it takes too long to decode");
    } else if (g_error_matches(error, GAFORK_ERROR, GAFORK_ERROR_DIED) ||
               g_error_matches(error, GAFORK_ERROR, GAFORK_ERROR_EXITED)) {
        fail(task, VIEWER_ERROR_PICTURE, line);
    } else {
        fail(task, VIEWER_ERROR_OTHER, line);
    }
}

/* A call whose worker ended. */
struct end {
    GTask *task;
    GAforkPool *pool;
    GError *error;
};

static void end_free(gpointer data)
{
    struct end *end = data;

    g_object_unref(end->task);
    g_object_unref(end->pool);
    g_error_free(end->error);
    g_free(end);
}

static gboolean on_end(gpointer data)
{
    struct end *end = data;

    return_error(end->task, end->pool, end->error);
    return G_SOURCE_REMOVE;
}

/* When too many workers have ended, calls that wait fail as if it were their own had. Whether that
 * is so, the pool tells only in the next turn. */
void viewer_answer_return_error(GTask *task, GAforkPool *pool, GError *error)
{
    if (error->domain != GAFORK_ERROR) {
        return_error(task, pool, error);
        return;
    }
    struct end *end = g_new(struct end, 1);
    *end = (struct end){g_object_ref(task), g_object_ref(pool), g_error_copy(error)};
    g_timeout_add_full(G_PRIORITY_LOW, 1, on_end, end, end_free);
}

/* One of those that decode.pl describes, and perhaps pixels. */
void viewer_answer_return(GTask *task, char **answer, GUnixFDList *fds)
{
    const char *text = answer[0] ? answer[0] : "";
    gboolean failed = g_str_has_prefix(text, "failed ");
    struct viewer_call *call = g_task_get_task_data(task);
    g_autoptr(GError) error = NULL;
    GdkTexture *texture = NULL;

    if (fds && answer[0]) {
        int fd = g_unix_fd_list_peek_fds(fds, NULL)[0];
        texture = viewer_pixels_to_texture((const char *const *)answer + 1, fd, call->box, &error);
    }
    if (texture && g_str_has_prefix(text, "error "))
        call->trouble = g_strdup(text + strlen("error "));
    if (texture)
        g_task_return_pointer(task, texture, g_object_unref);
    else if (error)
        fail(task, VIEWER_ERROR_OTHER, error->message);
    else if (strcmp(text, "unsupported") == 0)
        fail(task, VIEWER_ERROR_OTHER, "pictures of this type cannot be shown");
    else if (failed || g_str_has_prefix(text, "error "))
        fail(task, failed ? VIEWER_ERROR_PICTURE : VIEWER_ERROR_OTHER, strchr(text, ' ') + 1);
    else
        fail(task, VIEWER_ERROR_OTHER, "the worker gave a senseless answer");
}
