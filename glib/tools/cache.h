/* SPDX-License-Identifier: MIT
 *
 * The thumbnail cache of the Thumbnail Managing Standard: where thumbnails and records of failures
 * are, which are valid, and how new ones get their names.
 */
#ifndef CACHE_H
#define CACHE_H

#include "job.h"

struct cache {
    char *root;      /* .../thumbnails */
    char *directory; /* of the thumbnails of this size */
    char *failures;  /* of the records of what we failed to make */
    unsigned box;    /* pixels that width and height do not exceed */
};

/* Opens the user's cache for a size, by name (normal, large, x-large, xx-large) or pixels (128,
 * 256, 512, 1024), and makes its directories. Returned; release with cache_free(). NULL and `error`
 * (G_FILE_ERROR): there is no such size, or a directory cannot be made. */
struct cache *cache_open(const char *size, GError **error);
void cache_free(struct cache *cache);

/* Looks whether a job is to be done. Settles it if not: it is valid, failed before, is unreadable,
 * or is itself part of the cache. With `force` earlier results do not count. */
void cache_examine(struct cache *cache, struct job *job, bool force);

/* Gives the job the temporary name under which its thumbnail is written. */
void cache_begin(struct cache *cache, struct job *job);

/* After the work: a thumbnail that was made gets its final name, a failure its record; any other
 * temporary file is removed. May turn JOB_MADE into JOB_ERROR. */
void cache_finish(struct cache *cache, struct job *job);

/* The path of the job's thumbnail. Returned, caller frees. */
char *cache_thumbnail_path(struct cache *cache, const struct job *job);

#endif
