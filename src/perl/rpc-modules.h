/* SPDX-License-Identifier: MIT
 *
 * The modules of RPC that are built in, and the back end that is Perl.
 */
#ifndef AFORK_PERL_RPC_MODULES_H
#define AFORK_PERL_RPC_MODULES_H

#include "perl-api.h"

/* Has the back end of AFork/RPC.pm serve, with the arguments that are on the stack of the current
 * function. Returns if that does. */
void afork__rpc_run_async(pTHX_ bool own);

#endif
