/* SPDX-License-Identifier: MIT
 *
 * What a context does, told as it does it: for people who look for a fault.
 *
 * Without a line of code, AFORK_DEBUG in the environment names the topics that every context of the
 * program writes to standard error: some of "spawn", "wire", "pool", with commas between them, or
 * "all". The texts are for people, and may change.
 */
#ifndef AFORK_LOG_H
#define AFORK_LOG_H

#if !defined(AFORK_H_INSIDE) && !defined(AFORK_COMPILATION)
#error "include <afork/afork.h> instead of this header"
#endif

#include "afork-types.h"

AFORK_BEGIN_DECLS

enum afork_log_topic {
    AFORK_LOG_SPAWN = 1 << 0, /* processes: how they start, run and end; signals; spares */
    AFORK_LOG_WIRE = 1 << 1,  /* what goes to and comes from them, with sizes */
    AFORK_LOG_POOL = 1 << 2,  /* what pools do with workers and calls */
};

/* One thing that happened. `message` is NUL-terminated, of one line without its end, and valid
 * during the call; control characters are shown as dots. Called in the middle of everything: it must
 * not call this library, nor turn the loop. */
typedef void afork_log_cb(enum afork_log_topic topic, const char *message, void *data);

/* Tells `cb` of `topics`, a mask, and of those that AFORK_DEBUG names, instead of standard error;
 * with `cb` NULL, standard error. Errors: -EINVAL (an unknown topic). */
AFORK_EXPORT int afork_context_set_log(struct afork_context *context, unsigned topics,
                                       afork_log_cb *cb, void *data);

/* The mask of a list as in AFORK_DEBUG. What is no topic is passed over; NULL is an empty list. */
AFORK_EXPORT unsigned afork_log_topics(const char *list);

/* The name of one topic, as in AFORK_DEBUG; NULL for anything else. */
AFORK_EXPORT const char *afork_log_topic_name(enum afork_log_topic topic);

AFORK_END_DECLS

#endif
