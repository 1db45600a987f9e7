/* SPDX-License-Identifier: MIT
 *
 * From a worker's answer to what viewer_workers_finish() returns. Private to the workers.
 */
#ifndef VIEWER_ANSWER_H
#define VIEWER_ANSWER_H

#include "viewer-workers.h"

/* What a task of ViewerWorkers is about; its data. */
struct viewer_call {
    gboolean single;
    GBytes *arguments;
    guint box; /* pixels that the picture fits into */
    GAforkCallOptions *options;
    char *trouble; /* why the thumbnail could not be kept, or NULL */
};

/* Has a task of ViewerWorkers return: with what was answered, or with why nothing was. */
void viewer_answer_return(GTask *task, char **answer, GUnixFDList *fds);
void viewer_answer_return_error(GTask *task, GAforkPool *pool, GError *error);

/* The workers' side. Whether a call that a pool could not do is done again: with new workers, if that
 * one has begun to fail after it had worked. */
gboolean viewer_workers_call_again(ViewerWorkers *self, GTask *task, GAforkPool *pool);
void viewer_workers_set_message(ViewerWorkers *self, const char *message);

#endif
