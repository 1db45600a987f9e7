/* SPDX-License-Identifier: MIT
 *
 * The list, read as calls are wanted: never more than a piece ahead, and never by a read that waits
 * where a loop can wait.
 */
#ifndef AFORK_RUN_INPUT_H
#define AFORK_RUN_INPUT_H

#include <afork/afork.h>

struct input;

enum input_state {
    INPUT_LINE,
    INPUT_LATER, /* the loop waits for more */
    INPUT_END,
    INPUT_ERROR, /* it cannot be read on; input_error() says why */
};

/* Opens `file`, or standard input where it is NULL. Returned; 0 or a negative errno. */
int input_new(struct afork_loop *loop, const char *file, char separator, struct input **ret);

/* The next line, without its separator, valid until the next call. The last one needs none. */
enum input_state input_next(struct input *input, const char **ret, size_t *ret_len);

const char *input_error(const struct input *input);

/* Octets that there are in all; 0: not known. And those that were handed out. */
uint64_t input_size(const struct input *input);
uint64_t input_position(const struct input *input);

void input_free(struct input *input);

#endif
