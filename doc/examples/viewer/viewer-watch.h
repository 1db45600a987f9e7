/* SPDX-License-Identifier: MIT
 *
 * Follows a folder. Changes are gathered: a file that is rewritten a hundred times a second is one
 * change now and then, and a thousand new files are one, too.
 */
#ifndef VIEWER_WATCH_H
#define VIEWER_WATCH_H

#include <gio/gio.h>

#define VIEWER_TYPE_WATCH (viewer_watch_get_type())

G_DECLARE_FINAL_TYPE(ViewerWatch, viewer_watch, VIEWER, WATCH, GObject)

/* Signals:
 *   "changed" (GHashTable *names)   names of pictures, octets, each mapped to itself if there is
 *                                   such a file, or to NULL
 *   "gone"                          the folder is not there any more
 *   "back"                          it is again
 */
ViewerWatch *viewer_watch_new(const char *folder, GError **error);

/* Nothing is told for at least so long; for who needs time to deal with it. */
void viewer_watch_set_pause(ViewerWatch *self, guint milliseconds);

/* The folder was not there; when it is, "back" tells. */
void viewer_watch_set_gone(ViewerWatch *self);

/* Nothing is told any more. */
void viewer_watch_stop(ViewerWatch *self);

#endif
