/* SPDX-License-Identifier: MIT
 *
 * The command line. Lists end with NULL; strings are those of the command line but for `code`,
 * `begin` and `init`, which are joined of all that were given.
 */
#ifndef AFORK_RUN_OPTIONS_H
#define AFORK_RUN_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

enum halt {
    HALT_NEVER,
    HALT_SOON, /* no more calls are begun */
    HALT_NOW,  /* and those that are are killed */
};

struct options {
    /* What is called. `function` is NULL where there is `code`. */
    const char *function;
    char *code, *begin, *init;
    char **args; /* before each line's */
    int n_args;
    const char **modules; /* each with the letter that named it in front: M or m */
    const char **include_dirs;

    const char *list; /* file of lines; NULL: standard input */
    char separator;
    bool json, skip_empty;

    unsigned jobs, load, queue; /* 0: to be found out */
    uint64_t hold;              /* octets of results that wait for others */
    bool single;
    int64_t timeout; /* microseconds; 0: none */
    unsigned retries;
    enum halt halt;
    unsigned halt_failures;

    uint64_t memory; /* octets; 0: no limit */
    bool no_network;
    const char **read_paths, **write_paths; /* NULL: not confined */

    const char **hosts; /* NULL: here */
    const char *rsh;

    bool unordered, tag, quiet;
    char terminator; /* of results */
    const char *joblog;
    bool progress, verbose;
    bool help, version;
};

extern const char options_help[];

/* False: it has been said what is wrong. */
bool options_parse(int argc, char **argv, struct options *options);

void options_free(struct options *options);

#endif
