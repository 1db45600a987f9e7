/* SPDX-License-Identifier: MIT
 *
 * The Perl side of the plugin: workers that review texts. Nothing in here knows the editor.
 */
#ifndef REVIEWER_H
#define REVIEWER_H

#include <gio/gio.h>

/* One for all windows of the program. */
struct reviewer;

/* Another reference to the reviewer, which is made if there is none. It starts nothing yet.
 * AforkReview.pm is in @perl_dir. */
struct reviewer *reviewer_get(const char *perl_dir);

/* With the last reference all processes end; calls that are under way return, cancelled. */
void reviewer_unref(struct reviewer *self);

/* Calls @callback once, never from inside this call. Cancelling ends the work on it. */
void reviewer_review_async(struct reviewer *self, const char *text, const char *language,
                           GCancellable *cancellable, GAsyncReadyCallback callback, gpointer data);

/* A summary and the findings, as AforkReview::review() returns them; or NULL with @error set. */
char **reviewer_review_finish(GAsyncResult *result, GError **error);

#endif
