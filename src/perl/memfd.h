/* SPDX-License-Identifier: MIT
 *
 * Memory as a handle, for results of calls.
 */
#ifndef AFORK_PERL_MEMFD_H
#define AFORK_PERL_MEMFD_H

#include "perl-api.h"

/* Defines AFork::memfd(), unless it is. */
void afork__memfd_define(pTHX);

#endif
