/* SPDX-License-Identifier: MIT
 *
 * Our host, the same on each loop, and what it asks of the loop: besides what follows, loop_run(),
 * loop_turn(), loop_quit(), and for its own kind of channel loop_send() and loop_end_echo().
 */
#ifndef BENCH_LOOP_HOST_H
#define BENCH_LOOP_HOST_H

#include <afork/afork.h>

#include "bench-loop.h"

struct afork_loop *host_open_loop(void);
void host_close_loop(void);

/* Tells `process` to run `function`. host_is_open() is to be called when the channel is there. */
void host_run(struct afork_process *process, const char *function);
void host_is_open(void);

/* Ends the program if `failure` is not NULL. */
void host_check_entered(int error, const struct afork_exit *failure);

#endif
