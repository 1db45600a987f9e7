/* SPDX-License-Identifier: MIT
 *
 * A line for each call, in the columns that GNU parallel has.
 */
#ifndef AFORK_RUN_JOBLOG_H
#define AFORK_RUN_JOBLOG_H

#include <afork/afork.h>

#include "options.h"

struct joblog;

/* What is told of a call. */
struct joblog_entry {
    uint64_t seq;
    const char *host;
    double start, runtime; /* seconds since the epoch; seconds */
    size_t sent, received; /* octets of the line and of the results */
    const struct afork_reply *reply;
    const char *line;
};

/* Makes or empties the file. Returned; 0 or a negative errno. */
int joblog_new(const struct options *options, struct joblog **ret);

void joblog_add(struct joblog *log, const struct joblog_entry *entry);

/* Closes it. 0, or the negative errno of a write that failed. */
int joblog_end(struct joblog *log);

#endif
