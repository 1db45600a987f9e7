/* SPDX-License-Identifier: MIT
 *
 * Makes the thumbnails of a whole folder, when there is nothing more urgent to do.
 */
#ifndef VIEWER_BATCH_H
#define VIEWER_BATCH_H

#include "viewer-folder.h"
#include "viewer-thumbnailer.h"

#define VIEWER_TYPE_BATCH (viewer_batch_get_type())

G_DECLARE_FINAL_TYPE(ViewerBatch, viewer_batch, VIEWER, BATCH, GObject)

enum { VIEWER_BATCH_AHEAD = 5000 }; /* requests at a time: some megabytes */

/* Begins with the pictures that are in the folder now. The property "done" counts those that are
 * settled, in whatever way. */
ViewerBatch *viewer_batch_new(ViewerThumbnailer *thumbnailer, ViewerFolder *folder);

guint viewer_batch_get_done(ViewerBatch *self);
guint viewer_batch_get_failed(ViewerBatch *self); /* of them */
guint viewer_batch_get_total(ViewerBatch *self);

/* Whether there is something left to do, and it is being done. */
gboolean viewer_batch_is_running(ViewerBatch *self);

/* Drops what waits. It stops by itself when there are no workers. */
void viewer_batch_stop(ViewerBatch *self);

#endif
