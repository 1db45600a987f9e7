/* SPDX-License-Identifier: MIT
 *
 * What a process has from the one it was copied from, and must not end on its behalf: END blocks, objects
 * with destructors, handles, functions that XS code asked to be called at the end.
 *
 * The order at the end of such a process: afork__inherited_disarm(), END blocks, afork__inherited_finish()
 * in place of perl_destruct(), flush, _exit().
 */
#ifndef AFORK_PERL_INHERITED_H
#define AFORK_PERL_INHERITED_H

#include "perl-api.h"

/* Whatever exists now counts as inherited. Changes nothing until the functions below are called, so
 * that a template may do it for its children: it looks at all values and writes to those that are
 * objects and not noted yet. May be called again. */
void afork__inherited_note(pTHX);

/* The same in two steps, for a process that inherited something itself, and whose own must end with
 * it: the first before it is copied, the second in the copy. The first need not be repeated if no
 * code ran since. */
void afork__inherited_prepare(pTHX);
void afork__inherited_copied(pTHX);

/* Whether that was ever called in this process or one above. */
bool afork__inherited_noted(void);

/* How many END blocks, and functions of XS code, were there. */
Size_t afork__inherited_end_blocks(void);
I32 afork__inherited_exit_functions(void);

/* The same for what is a program's that this process is a copy of: it is never forgotten. */
void afork__inherited_note_program(pTHX);

/* As if only that had ever been called. */
void afork__inherited_forget(void);

/* Whether an object was there when it was called last. A handle that was made a pipe since was
 * not. */
bool afork__is_inherited(const SV *sv);

/* Leaves only those END blocks, and functions to be called at the end, that were added since. */
void afork__inherited_disarm(pTHX);

/* Does what perl_destruct() does for code to notice, but for what was added since only: destructors
 * are called, and handles closed whose end does more than to close a descriptor. */
void afork__inherited_finish(pTHX);

#endif
