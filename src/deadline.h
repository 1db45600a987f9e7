/* SPDX-License-Identifier: MIT
 *
 * Times at which something is to happen, and things that are due at the next turn of the loop. Both
 * are part of the object they concern, so that nothing here can fail once the first exists.
 */
#ifndef AFORK_DEADLINE_H
#define AFORK_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct afork_context;
struct afork_io;

/* A pairing heap, by time. */
struct afork__deadline {
    int64_t at; /* on the clock of afork__now() */
    void (*cb)(struct afork__deadline *deadline);
    bool set, background;
    struct afork__deadline *child, *sibling, **link; /* `link`: what points here */
};

/* Those of a context. */
struct afork__deadlines {
    struct afork__deadline *root;
    struct afork_io *io; /* NULL: nobody has needed any yet */
    int fd;
    unsigned n_foreground;
    int64_t armed_at; /* when the timer fires, at the latest */
};

/* Makes what deadlines of this context need: 0 or a negative errno. To be called once for each
 * object that has deadlines, before those are set. */
int afork__deadlines_prepare(struct afork_context *context);

/* Sets or moves a deadline, whose `cb` is set already. It runs from the loop, once; the deadline is
 * off by then. A background deadline does not keep the loop alive. */
void afork__deadline_set(struct afork_context *context, struct afork__deadline *deadline,
                         int64_t at, bool background);

/* Takes it back, if it is set. */
void afork__deadline_clear(struct afork_context *context, struct afork__deadline *deadline);

/* With the context. No deadline is set any more. */
void afork__deadlines_close(struct afork_context *context);

/* What is to be done at the next turn. */
struct afork__turn {
    void (*cb)(struct afork__turn *turn);
    bool due;
    TAILQ_ENTRY(afork__turn) link;
};

TAILQ_HEAD(afork__turns, afork__turn);

void afork__turn_due(struct afork_context *context, struct afork__turn *turn);
void afork__turn_clear(struct afork_context *context, struct afork__turn *turn);
/* Does what is due, from the loop. */
void afork__turns_run(struct afork_context *context);

#endif
