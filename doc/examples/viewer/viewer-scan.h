/* SPDX-License-Identifier: MIT
 *
 * Reads a folder in a thread, and sorts the names of its pictures as people expect them: 2 before 10.
 *
 * A list of names is a GPtrArray of GRefStrings made by viewer_name_new(): octets, and what they are
 * sorted by. Lists of one reading share them.
 */
#ifndef VIEWER_SCAN_H
#define VIEWER_SCAN_H

#include <gio/gio.h>

/* What was found so far, sorted; comes from the main context, and never after a cancellation. */
typedef void (*ViewerScanFunc)(GPtrArray *names, gpointer source);

/* `source` is who asks, and lives until the answer is there. */
void viewer_scan_async(GObject *source, const char *folder, ViewerScanFunc partial,
                       GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data);

/* All names; NULL and `error` if the folder cannot be read. */
GPtrArray *viewer_scan_finish(GAsyncResult *result, GError **error);

/* A name for a list: a GRefString. */
char *viewer_name_new(const char *name);

/* Whether it is a picture as far as its name tells; hidden files are none. */
gboolean viewer_name_is_picture(const char *name);

/* The place of a name in a list, or, with FALSE, where it would be. */
gboolean viewer_names_find(GPtrArray *names, const char *name, guint *position);

GPtrArray *viewer_names_new(void);

/* Releases a list. Of a long one a thread does: it takes milliseconds. */
void viewer_names_release(GPtrArray *names);

#endif
