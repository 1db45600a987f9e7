/* SPDX-License-Identifier: MIT
 *
 * The pictures of a folder as tiles, of which those in view have thumbnails.
 */
#ifndef VIEWER_GRID_H
#define VIEWER_GRID_H

#include "viewer-folder.h"
#include "viewer-tile.h"

#define VIEWER_TYPE_GRID (viewer_grid_get_type())

G_DECLARE_FINAL_TYPE(ViewerGrid, viewer_grid, VIEWER, GRID, GtkWidget)

/* Signal: "activate" (guint position), by Enter or a double click. */
GtkWidget *viewer_grid_new(ViewerThumbnailer *thumbnailer);

/* The pictures, with the selected one. */
void viewer_grid_set_model(ViewerGrid *self, GtkSingleSelection *model);

/* Brings a picture into view, and gives it the focus if a picture has it. */
void viewer_grid_reveal(ViewerGrid *self, guint position);

/* Whether nothing is above what is in view. */
gboolean viewer_grid_is_at_top(ViewerGrid *self);

/* Asks again for the thumbnails that are missing. */
void viewer_grid_refresh(ViewerGrid *self);

/* Counts the tiles in view, and those of them that have no thumbnail yet and are not broken. */
void viewer_grid_count(ViewerGrid *self, guint *in_view, guint *missing);

/* The tile of an entry, if there is one; for tests and tools. */
ViewerTile *viewer_grid_find_tile(ViewerGrid *self, const char *name);

#endif
