/* SPDX-License-Identifier: MIT
 *
 * Which children of a root were forked by user code, where libc's fork() cannot be replaced.
 */
#ifndef AFORK_PERL_NOTE_FORKS_H
#define AFORK_PERL_NOTE_FORKS_H

#include "perl-api.h"

struct afork__children;

/* From now on Perl's own fork is noted; with `existing_code` also where it is compiled already. */
void afork__hook_forks(pTHX_ bool existing_code);

/* Notes the processes behind open pipes; if forks are hooked. */
void afork__note_pipes(pTHX_ struct afork__children *children);

#endif
