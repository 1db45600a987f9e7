/* SPDX-License-Identifier: MIT
 *
 * The workers: a pool here, or one for each host.
 */
#ifndef AFORK_RUN_WORKERS_H
#define AFORK_RUN_WORKERS_H

#include <afork/afork.h>

#include "options.h"
#include "progress.h"

struct workers; /* all of them */
struct crew;    /* those of one host */

/* Makes the pools; nothing is waited for. 0, or a negative errno that has been told. */
int workers_new(struct afork_context *context, const struct options *options,
                struct progress *progress, struct workers **ret);

/* Who is to be given the next call; NULL: there is no room, or nobody. */
struct crew *workers_choose(struct workers *workers);

/* Whether nobody can work any more, which has been told. */
bool workers_are_gone(const struct workers *workers);

/* Has a line worked on, within the time of the options. The line is copied. 0 or a negative errno:
 * -EMSGSIZE and -ENOMEM are about the line; others mean that the crew has nobody who can work. */
int crew_call(struct crew *crew, const char *line, size_t len, afork_call_cb *cb, void *data,
              struct afork_call **ret);

/* To be told of each reply. False: it is not about the call, but about workers that cannot be
 * started; then the call is for another crew. */
bool crew_answered(struct crew *crew, const struct afork_reply *reply);

/* Its workers cannot be started: says why, the first time. */
void crew_give_up(struct crew *crew, const char *message);

const char *crew_host(const struct crew *crew);

/* Lets the workers end, and whether they have. */
void workers_finish(struct workers *workers);
bool workers_have_ended(const struct workers *workers);

/* Workers that there were, and those that ended by themselves. */
void workers_count(const struct workers *workers, uint64_t *started, uint64_t *crashed);

/* Once their context is closed. */
void workers_free(struct workers *workers);

#endif
