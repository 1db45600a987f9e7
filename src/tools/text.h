/* SPDX-License-Identifier: MIT
 *
 * Octets that grow, and octets made fit to be shown. Who runs out of memory here has nothing left
 * to do: the program says so and ends, and its workers with it.
 */
#ifndef AFORK_RUN_TEXT_H
#define AFORK_RUN_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum {
    EXIT_CALLS_MAX = 100, /* so many failed calls are told as such; more are one more */
    EXIT_TROUBLE = 125,   /* it is not the calls that failed */
    EXIT_SIGNAL = 128,
};

/* What was appended and not consumed: `len` octets from `data + start` on. All zero is empty. */
struct buffer {
    char *data;
    size_t start, len, size;
};

void *allocate(size_t size);

/* White space of JSON, within a line. */
static inline bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Makes room for `len` more octets and returns where they go; `len` is then to be added. */
char *buffer_reserve(struct buffer *buffer, size_t len);
void buffer_add(struct buffer *buffer, const void *data, size_t len);
void buffer_consume(struct buffer *buffer, size_t len);
void buffer_free(struct buffer *buffer);

/* Prints octets so that they can neither drive a terminal nor end a line or a column: control
 * characters and backslashes as \n, \t, \\ or \x1b. At most `max` octets of them, 0: all. */
void print_escaped(FILE *file, const char *text, size_t len, size_t max);

/* Prints what Perl says: its lines as they are, without the last line feed. */
void print_message(FILE *file, const char *text);

#endif
