/* SPDX-License-Identifier: MIT
 *
 * A picture in the grid: its thumbnail, and its name below.
 */
#ifndef VIEWER_TILE_H
#define VIEWER_TILE_H

#include "viewer-thumbnailer.h"

#define VIEWER_TYPE_TILE (viewer_tile_get_type())

G_DECLARE_FINAL_TYPE(ViewerTile, viewer_tile, VIEWER, TILE, GtkWidget)

typedef enum {
    VIEWER_TILE_EMPTY,   /* it is out of view, or waits for its thumbnail */
    VIEWER_TILE_SHOWN,   /* there is one */
    VIEWER_TILE_BROKEN,  /* there is none; the tooltip says why */
} ViewerTileState;

GtkWidget *viewer_tile_new(ViewerThumbnailer *thumbnailer);

/* What it shows; NULL: nothing. */
void viewer_tile_set_entry(ViewerTile *self, ViewerEntry *entry);
ViewerEntry *viewer_tile_get_entry(ViewerTile *self);

/* How far from view it is, in heights of the view: 0 in view; from 1 on it keeps nothing, and asks
 * for nothing. */
void viewer_tile_set_distance(ViewerTile *self, double distance);

ViewerTileState viewer_tile_get_state(ViewerTile *self);
const char *viewer_tile_get_reason(ViewerTile *self); /* of VIEWER_TILE_BROKEN */

#endif
