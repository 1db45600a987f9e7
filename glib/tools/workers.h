/* SPDX-License-Identifier: MIT
 *
 * The Perl workers: a pool whose template has loaded the decoder. Knows nothing of the cache.
 */
#ifndef WORKERS_H
#define WORKERS_H

#include <afork/afork-glib.h>

#include "job.h"

struct workers;

struct workers_options {
    unsigned max;          /* workers at a time */
    unsigned timeout;      /* seconds a picture may take */
    guint64 memory;        /* octets of address space a worker may have; 0: no limit */
    bool untrusted;        /* a process for each picture, without network and other processes */
    const char *perl_dir;  /* where AFork/Thumbnail.pm is */
    const char *directory; /* where thumbnails are written, under their temporary names */
    unsigned box;
    guint64 max_pixels; /* a larger picture is refused */
    bool verbose;       /* show what perl and libraries print */
};

struct workers_callbacks {
    /* A job that was pushed is settled; it is the callee's again. */
    void (*done)(struct job *job, void *data);
    /* No worker can be started; `message` says why. Jobs that wait will not be done. */
    void (*failed)(const char *message, void *data);
    /* After workers_stop(): every process has ended. */
    void (*stopped)(void *data);
    void *data;
};

/* Prepares the workers on `loop`; nothing is started before the first job. The structures are
 * copied, the strings in them borrowed. Returns 0 or a negative errno. */
int workers_new(struct afork_loop *loop, const struct workers_options *options,
                const struct workers_callbacks *callbacks, struct workers **ret);

/* Hands over a job. */
void workers_push(struct workers *workers, struct job *job);

/* Ends it all: jobs that wait or are under way are settled as cancelled, then the processes end. */
void workers_stop(struct workers *workers);

/* Releases them; after `stopped`. */
void workers_free(struct workers *workers);

#endif
