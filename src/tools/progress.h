/* SPDX-License-Identifier: MIT
 *
 * How far the run is: numbers, and a bar that is drawn of them ten times a second.
 */
#ifndef AFORK_RUN_PROGRESS_H
#define AFORK_RUN_PROGRESS_H

#include <afork/afork.h>

struct counts {
    uint64_t read, done, failed, not_run; /* calls; `done` has those that failed */
    uint64_t running;
    uint64_t octets, octets_done; /* of the list, 0: not known; of the lines that are done */
    bool all_read;
};

struct progress;

/* A bar on standard error, which shows `counts` until the end; borrowed. Where it is no terminal
 * there is none unless `force`, and the calls below do nothing. Returned; 0 or a negative errno. */
int progress_new(struct afork_loop *loop, const struct counts *counts, bool force,
                 struct progress **ret);

/* Before something else is printed. */
void progress_clear(struct progress *progress);

/* Seconds since the run began. */
double progress_seconds(const struct progress *progress);

void progress_free(struct progress *progress);

#endif
