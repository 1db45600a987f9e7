/* SPDX-License-Identifier: MIT
 *
 * Remote processes, as the rest of the core sees them. Such a process has `remote` set. Until it is
 * run it has neither socket nor pid, and its queue is a record of its commands. While it starts,
 * the socket is kept here; once its function was entered, it is that of the process.
 */
#ifndef AFORK_REMOTE_PRIVATE_H
#define AFORK_REMOTE_PRIVATE_H

#include <stddef.h>

struct afork_process;
struct afork__remote;

/* A copy of the record: a process of its own, with a reference of the user. */
int afork__remote_fork(struct afork_process *process, struct afork_process **ret);

/* Starts the command. 0, or a negative errno: nothing was started, and the process may be run
 * again. What is wrong with the command itself is told later. */
int afork__remote_run(struct afork_process *process, const char *function);

/* Sends what can be sent. Called first when the process counts as running. */
void afork__remote_send(struct afork_process *process);

/* The command has ended: reads all that it left behind. */
void afork__remote_drain(struct afork_process *process);

/* Nobody wants it any more: drops a record, kills a command that has not reached the function. */
void afork__remote_close(struct afork_process *process);

/* Gives up all that belongs to the start, but for the command. In a copy of the host without a word
 * to the loop or the far end. */
void afork__remote_stop(struct afork_process *process);

/* Adds to the words for an end, a string in `size` octets, what the command printed that was not
 * for us. */
void afork__remote_describe(const struct afork_process *process, char *text, size_t size);

void afork__remote_free(struct afork_process *process);

#endif
