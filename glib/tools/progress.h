/* SPDX-License-Identifier: MIT
 *
 * What the user sees: a bar on a terminal, a line for each failure, a summary; or JSON.
 */
#ifndef PROGRESS_H
#define PROGRESS_H

#include "job.h"

enum progress_mode {
    PROGRESS_QUIET, /* failures only */
    PROGRESS_PLAIN, /* failures and a summary; a bar where standard error is a terminal */
    PROGRESS_JSON,  /* an object a line on standard output: one for each file, one at the end */
};

struct progress;

struct progress *progress_new(enum progress_mode mode);

/* Tells of a job that was found, and later of what became of it, with the path of its thumbnail. */
void progress_found(struct progress *progress);
void progress_settled(struct progress *progress, const struct job *job, const char *thumbnail);

/* Shows the summary. */
void progress_end(struct progress *progress, bool interrupted);

/* Jobs in the states JOB_FAILED and JOB_ERROR so far. */
unsigned progress_failures(const struct progress *progress);

/* False once standard output could not be written. */
bool progress_is_heard(const struct progress *progress);

void progress_free(struct progress *progress);

#endif
