/* SPDX-License-Identifier: MIT
 *
 * Programs that start processes on an event loop: ours on each loop, and peers that do the same by
 * the loop's own means. bench-loop.c has their main() and measures; a program is that file and one
 * that does the work.
 */
#ifndef BENCH_LOOP_H
#define BENCH_LOOP_H

#include <stdbool.h>
#include <stddef.h>

enum { LOOP_BUFFER = 64 * 1024 }; /* octets that each program reads at once */

/* ---- what the program offers ---- */

/* Prepares. `arguments` is the rest of the command line: the code of the workers for ours, the
 * command to start for a peer. */
void loop_open(char **arguments);

/* Starts a process that leaves at once. If it `talks`, it writes an octet before. Afterwards come
 * loop_got(1), if it talks, and loop_left(), from the loop. */
void loop_start(bool talks);

/* Starts a process that sends back what it is sent, and returns when it can be sent to. From then
 * on loop_got() tells what came back. */
void loop_start_echo(void);

/* Sends to that process. `data` stays until all of it has come back. Not called again before. */
void loop_send(const char *data, size_t len);

/* Closes its channel. */
void loop_end_echo(void);

/* Turns the loop until loop_quit(), or once, without waiting. */
void loop_run(void);
void loop_turn(void);
void loop_quit(void);

/* Ends all. */
void loop_close(void);

/* ---- what the program tells bench-loop.c ---- */

void loop_got(size_t octets);
void loop_left(void);

/* Ends the program if `result` is negative, an errno. */
void loop_check(const char *what, int result);

#endif
