/* SPDX-License-Identifier: MIT
 *
 * One picture in full: decoded by a process of its own, shown to fit or enlarged.
 */
#ifndef VIEWER_PAGE_H
#define VIEWER_PAGE_H

#include "viewer-entry.h"
#include "viewer-workers.h"

#define VIEWER_TYPE_PAGE (viewer_page_get_type())

G_DECLARE_FINAL_TYPE(ViewerPage, viewer_page, VIEWER, PAGE, GtkWidget)

GtkWidget *viewer_page_new(ViewerWorkers *workers);

/* What it shows; NULL: nothing, and it keeps no memory. The decoding of another is given up. */
void viewer_page_set_entry(ViewerPage *self, ViewerEntry *entry);

/* Tries once more to decode what could not be. */
void viewer_page_retry(ViewerPage *self);

/* Multiplies the enlargement; 0: to fit again; negative: one pixel for one. */
void viewer_page_zoom(ViewerPage *self, double factor);

/* The picture, once it is there; or else why it cannot be shown, once that is known. "reason" is a
 * property. */
GdkTexture *viewer_page_get_texture(ViewerPage *self);
const char *viewer_page_get_reason(ViewerPage *self);

#endif
