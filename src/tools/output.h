/* SPDX-License-Identifier: MIT
 *
 * Standard output, which may be slower than the calls: what it does not take waits here, and who
 * makes calls looks at how much that is.
 */
#ifndef AFORK_RUN_OUTPUT_H
#define AFORK_RUN_OUTPUT_H

#include <afork/afork.h>

#include "text.h"

struct output;

/* Returned; 0 or a negative errno. */
int output_new(struct afork_loop *loop, struct output **ret);

/* What is appended to this is written by output_flush(), and later as the reader takes it. */
struct buffer *output_buffer(struct output *output);
void output_flush(struct output *output);

/* What is written to, to be waited for. */
int output_fd(const struct output *output);

/* Octets that wait. */
size_t output_pending(const struct output *output);

/* 0, or the errno of a write that failed: nothing is written any more. */
int output_error(const struct output *output);

void output_free(struct output *output);

#endif
