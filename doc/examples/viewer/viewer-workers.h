/* SPDX-License-Identifier: MIT
 *
 * The processes that decode pictures: a template that knows how, a pool of workers that make
 * thumbnails, and one whose workers show a single picture each. The viewer itself decodes nothing.
 */
#ifndef VIEWER_WORKERS_H
#define VIEWER_WORKERS_H

#include <afork/afork-glib.h>
#include <gtk/gtk.h>

#define VIEWER_TYPE_WORKERS (viewer_workers_get_type())

G_DECLARE_FINAL_TYPE(ViewerWorkers, viewer_workers, VIEWER, WORKERS, GObject)

enum { VIEWER_SIDE_MAX = 16384 }; /* pixels; a larger picture is shown reduced */

/* What went wrong with a picture. */
#define VIEWER_ERROR (viewer_error_quark())

typedef enum {
    VIEWER_ERROR_PICTURE, /* the picture's fault */
    VIEWER_ERROR_OTHER,   /* another time it may go well */
    VIEWER_ERROR_WORKERS, /* there are no workers; see the property "message" */
} ViewerError;

GQuark viewer_error_quark(void);

/* `directory` is where thumbnails are written: workers may write nowhere else but where temporary files
 * are. `box` pixels is what they fit into. Nothing is started before the first call. The property
 * "message" tells why no worker can be started; NULL: all is well. */
ViewerWorkers *viewer_workers_new(const char *directory, guint box);

/* Has a function of decode.pl called: arguments[0] is its name, and `box` is added as the last: pixels
 * that the picture is reduced to fit into. `single`: by a process that does nothing else, and ends
 * then; it is killed when the call is cancelled. */
void viewer_workers_call_async(ViewerWorkers *self, gboolean single, const char *const *arguments,
                               guint box, GAforkCallOptions *options, GCancellable *cancellable,
                               GAsyncReadyCallback callback, gpointer user_data);

/* The picture. `trouble`, if not NULL, is set to why its thumbnail could not be kept, or to NULL. */
GdkTexture *viewer_workers_finish(ViewerWorkers *self, GAsyncResult *result, char **trouble,
                                  GError **error);

/* Seconds that a picture may take, 30 at first; then its worker is replaced. */
void viewer_workers_set_timeout(ViewerWorkers *self, guint seconds);

/* Of workers that are started later: what memory one may have, and after how many calls it is replaced. */
void viewer_workers_set_limits(ViewerWorkers *self, guint megabytes, guint calls);

const char *viewer_workers_get_message(ViewerWorkers *self);

/* The pool that makes thumbnails, for who shows numbers; NULL before the first call. "pool" is a
 * property. */
GAforkPool *viewer_workers_get_pool(ViewerWorkers *self);

/* Starts anew, after "message" told of trouble. */
void viewer_workers_retry(ViewerWorkers *self);

/* Ends it all at once. Whatever is under way returns with an error. */
void viewer_workers_close(ViewerWorkers *self);

#endif
