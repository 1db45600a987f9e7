/* SPDX-License-Identifier: MIT
 *
 * The two halves of the fake server: what serves, and the functions it can run.
 */
#ifndef FAKE_SERVER_H
#define FAKE_SERVER_H

#include <glib.h>
#include <stdbool.h>

/* A pending argument. */
struct fake_item {
    bool is_handle;
    int fd;
    char *data;
    size_t len;
};

/* What a function gets. */
struct fake_state {
    int channel;
    GArray *items;
    GString *code; /* what was evaluated, a line each */
};

typedef void fake_function(const struct fake_state *state);

/* NULL if there is none. */
fake_function *fake_find_function(const char *name);

/* Waits for a signal, but not for ever. */
void fake_hang(void);

#endif
