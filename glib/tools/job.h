/* SPDX-License-Identifier: MIT
 *
 * One picture on its way through afork-thumbnails, and what became of it.
 */
#ifndef JOB_H
#define JOB_H

#include <glib.h>
#include <stdbool.h>
#include <sys/stat.h>

enum job_state {
    JOB_WAITING,
    JOB_MADE,      /* a thumbnail was written; `width`, `height` and `type` tell the picture's */
    JOB_VALID,     /* there is a valid one already */
    JOB_SKIPPED,   /* not a picture for us; `reason` */
    JOB_FAILED,    /* the picture's fault, to be remembered; `reason` */
    JOB_ERROR,     /* may go well another time; `reason` */
    JOB_CANCELLED, /* the run was stopped */
};

struct job {
    char *path;      /* absolute; octets */
    char *uri;       /* canonical */
    char *name;      /* of the thumbnail within its directory */
    char *temporary; /* likewise, while it is being written; NULL before */
    bool named;      /* the user named this file; not found in a directory */
    char *type;      /* of a found file as its name suggests, later of the picture; or NULL */
    gint64 mtime, size;

    enum job_state state;
    char *reason;
    unsigned width, height;
};

/* Makes a job for a file. `path` is absolute and without `.` and `..`; copied. `info` may be NULL
 * for a file that cannot be examined. Returned; release with job_free(). */
struct job *job_new(const char *path, const struct stat *info, bool named);
void job_free(struct job *job);

/* Sets the state and the reason, in the manner of printf(). */
void job_settle(struct job *job, enum job_state state, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* The name of the thumbnail of a canonical URI, as the Thumbnail Managing Standard has it.
 * Returned, caller frees. */
char *job_thumbnail_name(const char *uri);

#endif
