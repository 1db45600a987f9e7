/* SPDX-License-Identifier: MIT
 *
 * The program: its windows, and what they share.
 */
#ifndef VIEWER_APPLICATION_H
#define VIEWER_APPLICATION_H

#include "viewer-thumbnailer.h"

#define VIEWER_TYPE_APPLICATION (viewer_application_get_type())

G_DECLARE_FINAL_TYPE(ViewerApplication, viewer_application, VIEWER, APPLICATION, GtkApplication)

GtkApplication *viewer_application_new(void);

ViewerThumbnailer *viewer_application_get_thumbnailer(ViewerApplication *self);

#endif
