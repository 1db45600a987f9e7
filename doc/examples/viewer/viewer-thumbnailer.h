/* SPDX-License-Identifier: MIT
 *
 * Thumbnails: from the desktop's cache where there is a valid one, else by workers, who put it there.
 */
#ifndef VIEWER_THUMBNAILER_H
#define VIEWER_THUMBNAILER_H

#include "viewer-entry.h"
#include "viewer-workers.h"

#define VIEWER_TYPE_THUMBNAILER (viewer_thumbnailer_get_type())

G_DECLARE_FINAL_TYPE(ViewerThumbnailer, viewer_thumbnailer, VIEWER, THUMBNAILER, GObject)

/* The property "message" tells why thumbnails are not kept at present (there is no place for the
 * cache, the disk is full); they are made and shown all the same. NULL: they are. */
ViewerThumbnailer *viewer_thumbnailer_new(void);

ViewerWorkers *viewer_thumbnailer_get_workers(ViewerThumbnailer *self);
const char *viewer_thumbnailer_get_message(ViewerThumbnailer *self);

/* Gets an entry's thumbnail, with at most `side` pixels in width and height. `options` are of this
 * call alone: their priority says how urgent it is, and can change. A call that is cancelled leaves
 * the queue, unless a worker has it, who finishes it for the cache. Errors: VIEWER_ERROR,
 * G_IO_ERROR_CANCELLED. */
void viewer_thumbnailer_get_async(ViewerThumbnailer *self, ViewerEntry *entry, int side,
                                  GAforkCallOptions *options, GCancellable *cancellable,
                                  GAsyncReadyCallback callback, gpointer user_data);
GdkTexture *viewer_thumbnailer_get_finish(ViewerThumbnailer *self, GAsyncResult *result,
                                          GError **error);

/* Makes it if there is none, without anybody looking at it; after everything else. */
void viewer_thumbnailer_make_async(ViewerThumbnailer *self, ViewerEntry *entry,
                                   GCancellable *cancellable, GAsyncReadyCallback callback,
                                   gpointer user_data);
gboolean viewer_thumbnailer_make_finish(ViewerThumbnailer *self, GAsyncResult *result,
                                        GError **error);

#endif
