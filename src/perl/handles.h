/* SPDX-License-Identifier: MIT
 *
 * What handles hold in their buffers when a process forks or ends.
 */
#ifndef AFORK_PERL_HANDLES_H
#define AFORK_PERL_HANDLES_H

#include "perl-api.h"

/* Calls `is_special` for each value of the interpreter; returns whether it was true for one. */
bool afork__any_value(pTHX_ bool (*is_special)(pTHX_ SV *sv, void *data), void *data);

/* Whether closing the handle would only close its descriptor. That of a pipe waits for a
 * process. */
bool afork__is_plain_handle(const IO *io);

/* Puts the position of each file to where its handle has read to, and forgets what was read
 * ahead. */
void afork__settle_input(pTHX);

/* That, and writes what handles and streams of stdio hold. */
void afork__flush(pTHX);

#endif
