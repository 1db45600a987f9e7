/* SPDX-License-Identifier: MIT
 *
 * One worker whose function is called again and again. Documented in gafork-rpc.c and
 * gafork-rpc-options.c.
 */
#ifndef GAFORK_RPC_H
#define GAFORK_RPC_H

#if !defined(AFORK_GLIB_H_INSIDE) && !defined(AFORK_GLIB_COMPILATION)
#error "include <afork/afork-glib.h> instead of this header"
#endif

#include "gafork-call.h"
#include "gafork-process.h"
#include "gafork-types.h"

AFORK_BEGIN_DECLS

#define GAFORK_TYPE_RPC_OPTIONS (gafork_rpc_options_get_type())

AFORK_EXPORT G_DECLARE_FINAL_TYPE(GAforkRpcOptions, gafork_rpc_options, GAFORK, RPC_OPTIONS,
                                  GObject)

AFORK_EXPORT GAforkRpcOptions *gafork_rpc_options_new(void);

#define GAFORK_TYPE_RPC (gafork_rpc_get_type())

AFORK_EXPORT G_DECLARE_FINAL_TYPE(GAforkRpc, gafork_rpc, GAFORK, RPC, GObject)

AFORK_EXPORT GAforkRpc *gafork_rpc_new(GAforkProcess *process, const char *function,
                                       GAforkRpcOptions *options, GError **error);
AFORK_EXPORT GAforkProcess *gafork_rpc_get_process(GAforkRpc *self);
AFORK_EXPORT const char *gafork_rpc_get_function(GAforkRpc *self);

AFORK_END_DECLS

#endif
