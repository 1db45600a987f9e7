/* SPDX-License-Identifier: MIT
 *
 * The command line of afork-thumbnails.
 */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>

struct options {
    bool recursive, force, null, json, quiet, verbose, version, help, untrusted;
    const char *size; /* as the user wrote it */
    const char *list; /* file with names; NULL: none, "-": standard input */
    unsigned jobs;    /* 0: as many as there are processors */
    unsigned timeout; /* seconds */
    unsigned max_megapixels;
    unsigned memory; /* megabytes; 0: no limit */
    char **names; /* the other arguments; the first is not yet looked at, the last is NULL */
};

/* Sets `options` from the arguments, which are borrowed and reordered. False after saying on
 * standard error what is wrong. */
bool options_parse(int argc, char **argv, struct options *options);

extern const char options_help[];

#endif
