/* SPDX-License-Identifier: MIT
 *
 * The process that launches are forked from; see spawner-wire.h.
 */
#ifndef AFORK_PERL_SPAWNER_H
#define AFORK_PERL_SPAWNER_H

/* Becomes it. */
void afork__spawner(int control_fd) __attribute__((noreturn));

#endif
