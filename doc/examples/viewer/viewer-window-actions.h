/* SPDX-License-Identifier: MIT
 *
 * What menus, buttons and keys of the window do. Private to the window.
 */
#ifndef VIEWER_WINDOW_ACTIONS_H
#define VIEWER_WINDOW_ACTIONS_H

#include "viewer-window.h"

void viewer_window_add_actions(ViewerWindow *self);

/* Has those that make no sense now insensitive. */
void viewer_window_update_actions(ViewerWindow *self);

/* The window's side. */
gboolean viewer_window_shows_picture(ViewerWindow *self);
void viewer_window_show_picture(ViewerWindow *self, guint position);
void viewer_window_show_grid(ViewerWindow *self);
void viewer_window_step(ViewerWindow *self, int by);
gboolean viewer_window_can_step(ViewerWindow *self, int by); /* a picture is shown, and there is another */
void viewer_window_immerse(ViewerWindow *self, gboolean immersed); /* nothing but pictures */
void viewer_window_make_all(ViewerWindow *self);
ViewerThumbnailer *viewer_window_get_thumbnailer(ViewerWindow *self);

#endif
