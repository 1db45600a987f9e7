/* SPDX-License-Identifier: MIT
 *
 * Spares: children of a template that are forked before anybody asks for them.
 */
#ifndef AFORK_SPARES_H
#define AFORK_SPARES_H

#include <stdint.h>

struct afork_context;
struct afork_process;
struct afork_spare_stats;
struct afork__spares;

/* As afork_process_set_spares(), for a process that may be given commands. */
int afork__spares_set(struct afork_process *template, unsigned n);

/* A spare for whoever wants `template` forked, with a user's reference; NULL if there is none.
 * Sees to it that another one comes. */
struct afork_process *afork__spares_take(struct afork_process *template);

/* `template` was given a command: its spares are what it was before, and are replaced. */
void afork__spares_renew(struct afork_process *template);

/* `template` will be told to stop being one: so is the server, that none of its spares is left to
 * whatever it becomes, nor one that was dropped and has yet to end. 0 or -ENOMEM. If `template`
 * stays one after all, afork__spares_renew() has to follow: nobody may be given those spares. */
int afork__spares_give_up(struct afork_process *template);

/* `template` cannot be forked any more. Its numbers stay. */
void afork__spares_stop(struct afork_process *template);

/* Releases what is left of them with the memory of `template`. */
void afork__spares_free(struct afork_process *template);

/* `spare` has ended. */
void afork__spares_lost(struct afork_process *spare);

/* Forks those that are missing, if it is time. From the loop only. */
void afork__spares_fill(struct afork_context *context);

/* Microseconds until afork__spares_fill() has something to do; negative: it has not. */
int64_t afork__spares_wait(const struct afork_context *context);

/* Adds what there is of `template` to `stats`. */
void afork__spares_count(const struct afork_process *template, struct afork_spare_stats *stats);

#endif
