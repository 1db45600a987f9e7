/* SPDX-License-Identifier: MIT
 *
 * One Perl worker and its channel: a job a line out, an answer a line in.
 */
#ifndef WORKER_H
#define WORKER_H

#include <afork/afork-glib.h>

#include "job.h"

/* The second waits in the channel, so that the worker need not wait for the host between two. */
#define WORKER_MAX_JOBS 2

enum worker_state {
    WORKER_STARTING,
    WORKER_RUNNING, /* takes jobs */
    WORKER_ENDING,  /* takes none; the end will be told */
};

struct worker;

struct worker_callbacks {
    /* It runs now. */
    void (*ready)(struct worker *worker);
    /* A job was settled by the worker's answer; it is the callee's. */
    void (*answered)(struct worker *worker, struct job *job);
    /* Its process has ended, for this reason. The callee takes what is left in `jobs`, and releases
     * the worker. */
    void (*ended)(struct worker *worker, const char *reason);
};

struct worker {
    enum worker_state state;
    struct job *jobs[WORKER_MAX_JOBS]; /* the first is the one it works on */
    unsigned n_jobs;
    bool useful; /* it was given a job */
    struct worker *next;
    void *data; /* of the owner */

    const struct worker_callbacks *callbacks;
    struct afork_process *process;
    unsigned timeout;
    int fd;             /* the channel; -1: not open */
    guint watch, timer; /* sources; 0: none */
    GString *input;     /* what came of the next answer */
    char *reason;       /* why it was made to end, or could not run; NULL */
};

/* Forks a worker from a template that has loaded AFork::Thumbnail and was sent the arguments of its
 * run(). A job may take `timeout` seconds. `callbacks` is borrowed. Returned; released by
 * worker_free(), usually from `ended`. Returns 0 or a negative errno. */
int worker_start(struct afork_process *template, unsigned timeout,
                 const struct worker_callbacks *callbacks, void *data, struct worker **ret);
void worker_free(struct worker *worker);

/* Hands over a job, if the worker is running and has less than WORKER_MAX_JOBS. False if it cannot be
 * reached; it is given up then, and the job stays the caller's. */
bool worker_give(struct worker *worker, struct job *job);

/* Takes back the first job. */
struct job *worker_take(struct worker *worker);

/* Kills it, for a reason that `ended` will be told. */
void worker_kill(struct worker *worker, const char *reason);

/* Lets it go: an idle worker ends when its channel does; any other is killed. */
void worker_dismiss(struct worker *worker);

#endif
