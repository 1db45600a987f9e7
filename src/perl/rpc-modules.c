/* SPDX-License-Identifier: MIT
 *
 * The modules of RPC that are built in.
 */
#include "rpc-modules.h"
#include "rpc.h"

void afork__rpc_run_async(pTHX_ bool own)
{
    PERL_UNUSED_ARG(own);
    croak("not yet");
}

void afork__rpc_boot(pTHX)
{
}
