/* SPDX-License-Identifier: MIT
 *
 * The status bar: how many pictures there are, and what the workers do.
 */
#ifndef VIEWER_STATUS_H
#define VIEWER_STATUS_H

#include "viewer-batch.h"

#define VIEWER_TYPE_STATUS (viewer_status_get_type())

G_DECLARE_FINAL_TYPE(ViewerStatus, viewer_status, VIEWER, STATUS, GtkWidget)

GtkWidget *viewer_status_new(ViewerThumbnailer *thumbnailer);

/* What it tells of; NULL: none. */
void viewer_status_set_folder(ViewerStatus *self, ViewerFolder *folder);
void viewer_status_set_batch(ViewerStatus *self, ViewerBatch *batch);

#endif
