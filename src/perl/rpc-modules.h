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

/* Defines what that needs from C: send_octets(descriptor, octets, offset, descriptors...), and
 * receive_octets(descriptor, buffer, room), which appends, and returns the number of octets and the
 * handles that came. Both return undef and set `$!` when they fail. */
void afork__rpc_define_transport(pTHX);

#endif
