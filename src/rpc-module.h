/* SPDX-License-Identifier: MIT
 *
 * The text of src/perl/AFork/RPC.pm, without comments: what makes any perl a worker of RPC.
 */
#ifndef AFORK_RPC_MODULE_H
#define AFORK_RPC_MODULE_H

extern const char afork__rpc_module[];

#endif
