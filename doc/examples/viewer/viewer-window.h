/* SPDX-License-Identifier: MIT
 *
 * The window: a folder as a grid, one of its pictures in full, or why there is neither.
 */
#ifndef VIEWER_WINDOW_H
#define VIEWER_WINDOW_H

#include "viewer-batch.h"
#include "viewer-grid.h"
#include "viewer-page.h"

#define VIEWER_TYPE_WINDOW (viewer_window_get_type())

G_DECLARE_FINAL_TYPE(ViewerWindow, viewer_window, VIEWER, WINDOW, GtkApplicationWindow)

GtkWindow *viewer_window_new(GtkApplication *application, ViewerThumbnailer *thumbnailer);

/* Shows a folder, or a picture and then its folder. */
void viewer_window_open(ViewerWindow *self, GFile *file);

/* For who looks from outside. */
ViewerFolder *viewer_window_get_folder(ViewerWindow *self); /* may be NULL */
ViewerGrid *viewer_window_get_grid(ViewerWindow *self);
ViewerPage *viewer_window_get_page(ViewerWindow *self);
ViewerBatch *viewer_window_get_batch(ViewerWindow *self); /* may be NULL */
const char *viewer_window_get_visible(ViewerWindow *self); /* "grid", "picture" or "placeholder" */
const char *viewer_window_get_notice(ViewerWindow *self);  /* what the bar at the top says, or NULL */

#endif
