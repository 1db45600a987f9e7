/* SPDX-License-Identifier: MIT
 *
 * The calls: made of lines as there is room for them, made again where they fail, and their results
 * put in order.
 */
#ifndef AFORK_RUN_JOBS_H
#define AFORK_RUN_JOBS_H

#include "input.h"
#include "joblog.h"
#include "options.h"
#include "output.h"
#include "progress.h"
#include "workers.h"

struct jobs;

/* What they are made of; all borrowed until jobs_free(). `joblog` may be NULL. */
struct jobs_parts {
    const struct options *options;
    struct input *input;
    struct output *output;
    struct workers *workers;
    struct progress *progress;
    struct counts *counts;
    struct joblog *joblog;
};

struct jobs *jobs_new(const struct jobs_parts *parts);

/* Makes calls as long as there are lines and room. To be called when anything has happened. Whether
 * it was the output that has no room. */
bool jobs_step(struct jobs *jobs);

/* Makes no more calls, and has those cancelled that are not begun, or, with `now`, all. */
void jobs_stop(struct jobs *jobs, bool now);

/* All that were to be made are, and have their results. */
bool jobs_are_over(const struct jobs *jobs);

/* Whether anything but a call went wrong; that has been told. */
bool jobs_are_in_trouble(const struct jobs *jobs);

/* Once nothing calls back any more. */
void jobs_free(struct jobs *jobs);

#endif
