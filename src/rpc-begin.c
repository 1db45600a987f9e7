/* SPDX-License-Identifier: MIT
 *
 * Tells callers that a worker has begun with their calls: one that has nothing to answer before, or,
 * with the asynchronous back end, all that were written. Most callers do not ask, and nothing here
 * is done for them but to look at `n_begin`.
 *
 * It is told by a turn of the loop or, if that comes later, before what the worker says of the call.
 */
#include "config.h"

#include "rpc.h"

/* From the loop. The call may be gone afterwards, and the rpc closed. */
static void tell(struct afork_rpc *rpc, struct afork_call *call)
{
    call->begun = true;
    rpc->n_begin--;
    call->on_begin(call->cb_data);
}

static bool is_told_next(const struct afork_call *call)
{
    return call && call->on_begin && !call->begun && !call->writing;
}

static bool is_next_written(const struct afork_rpc *rpc)
{
    return rpc->told_id != rpc->last_id &&
           !(rpc->writing && rpc->writing->id == afork__rpc_id_after(rpc->told_id));
}

/* Numbers are given in order, so that what is behind `told_id` was written since. */
static struct afork_call *next_of_all(struct afork_rpc *rpc)
{
    while (is_next_written(rpc)) {
        uint32_t id = afork__rpc_id_after(rpc->told_id);
        const struct afork__rpc_slot *slot = afork__rpc_slot_of(rpc, id);
        struct afork_call *call = slot ? slot->call : NULL;
        rpc->told_id = id;
        if (is_told_next(call))
            return call;
    }
    return NULL;
}

static struct afork_call *next_begun(struct afork_rpc *rpc)
{
    if (!rpc->n_begin || !rpc->begun || rpc->state != AFORK__RPC_OPEN)
        return NULL;
    if (rpc->async)
        return next_of_all(rpc);
    struct afork_call *call = afork__rpc_oldest(rpc);
    return is_told_next(call) ? call : NULL;
}

void afork__rpc_begin_sent(struct afork_rpc *rpc, struct afork_call *call)
{
    call->begun = false; /* another worker may have had it before */
    if (!rpc->n_begin++)
        rpc->told_id = call->id - 1;
}

void afork__rpc_begin_left(struct afork_rpc *rpc, const struct afork_call *call)
{
    rpc->n_begin -= !call->begun;
}

void afork__rpc_begin_soon(struct afork_rpc *rpc)
{
    if (rpc->begun && rpc->state == AFORK__RPC_OPEN &&
        (rpc->async ? is_next_written(rpc) : is_told_next(afork__rpc_oldest(rpc))))
        afork__turn_due(rpc->context, &afork__rpc_due(rpc)->turn);
}

void afork__rpc_begin_before(struct afork_rpc *rpc, uint32_t id)
{
    const struct afork__rpc_slot *slot = afork__rpc_slot_of(rpc, id);

    if (slot && is_told_next(slot->call))
        tell(rpc, slot->call);
}

void afork__rpc_begin_tell(struct afork_rpc *rpc)
{
    struct afork_call *call;

    while (!rpc->closed && (call = next_begun(rpc)))
        tell(rpc, call);
}
