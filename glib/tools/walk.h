/* SPDX-License-Identifier: MIT
 *
 * Finds the files to work on: those named by the user or in a list, and those in directories.
 */
#ifndef WALK_H
#define WALK_H

#include "job.h"

struct walk;

struct walk_callbacks {
    void (*found)(struct job *job, void *data); /* the job is taken; it may be settled already */
    void (*ended)(void *data);
    void *data;
};

/* Makes a walk. `callbacks` is copied. Directories are entered at one level, or at all with
 * `recursive`. Returned; release with walk_free(). */
struct walk *walk_new(bool recursive, const struct walk_callbacks *callbacks);

/* Releases the walk, also before its end, but not from its callbacks. */
void walk_free(struct walk *walk);

/* Adds a file or directory: a path, or a file: URI. */
void walk_add(struct walk *walk, const char *name);

/* Adds what is named in a file, "-" being standard input: one a line, or each ended by NUL. It is
 * read as it comes, when it is a pipe. At most one list. False and `error` if it cannot be opened. */
bool walk_add_list(struct walk *walk, const char *path, char separator, GError **error);

/* Starts the walk in the default main context: between other events, a file at a time. */
void walk_start(struct walk *walk);

#endif
