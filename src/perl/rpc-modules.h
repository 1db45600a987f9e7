/* SPDX-License-Identifier: MIT
 *
 * The modules of RPC that are built in, and the back end that is Perl.
 */
#ifndef AFORK_PERL_RPC_MODULES_H
#define AFORK_PERL_RPC_MODULES_H

#include "perl-api.h"

/* Has the asynchronous back end of AFork/RPC.pm serve, with the `items` arguments of an XSUB.
 * Returns if that does. */
void afork__rpc_run_async(pTHX_ bool own, SSize_t ax, SSize_t items);

#endif
