/* SPDX-License-Identifier: MIT
 *
 * The calls that a worker was given, by the number that its answer has: a table of a power of two,
 * in which the number itself is the place. It is never more than half full, so that the next free
 * number is near, also where one call takes as long as a million others.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "rpc.h"

enum { SLOTS_START = 16 };

struct afork__rpc_slot *afork__rpc_slot_of(const struct afork_rpc *rpc, uint32_t id)
{
    struct afork__rpc_slot *slot = rpc->n_slots ? &rpc->slots[id & (rpc->n_slots - 1)] : NULL;

    return slot && id && slot->id == id ? slot : NULL;
}

int afork__rpc_reserve(struct afork_rpc *rpc)
{
    size_t n = rpc->n_slots ? rpc->n_slots : SLOTS_START;

    while (n < 2 * (rpc->n_used + rpc->n_calls + 1))
        n *= 2;
    if (n == rpc->n_slots)
        return 0;
    struct afork__rpc_slot *slots = calloc(n, sizeof *slots);
    if (!slots)
        return -ENOMEM;
    for (size_t i = 0; i < rpc->n_slots; i++)
        if (rpc->slots[i].id)
            slots[rpc->slots[i].id & (n - 1)] = rpc->slots[i];
    free(rpc->slots);
    rpc->slots = slots;
    rpc->n_slots = n;
    return 0;
}

uint32_t afork__rpc_id_after(uint32_t id)
{
    return id == UINT32_MAX ? 1 : id + 1;
}

uint32_t afork__rpc_next_id(const struct afork_rpc *rpc, uint32_t id)
{
    do
        id = afork__rpc_id_after(id);
    while (rpc->slots[id & (rpc->n_slots - 1)].id);
    return id;
}

struct afork_call *afork__rpc_oldest(const struct afork_rpc *rpc)
{
    struct afork__rpc_slot *slot = rpc->n_used ? afork__rpc_slot_of(rpc, rpc->oldest_id) : NULL;

    return slot ? slot->call : NULL;
}

bool afork__rpc_may_hold(const struct afork_rpc *rpc)
{
    const struct afork__rpc_slot *slot = rpc->n_used ? afork__rpc_slot_of(rpc, rpc->oldest_id)
                                                     : NULL;

    return rpc->holding && !(slot && slot->prompt);
}

void afork__rpc_free_slot(struct afork_rpc *rpc, struct afork__rpc_slot *slot)
{
    if (slot->id == rpc->oldest_id)
        rpc->oldest_id = afork__rpc_id_after(rpc->oldest_id);
    slot->id = 0;
    rpc->n_used--;
}

void afork__rpc_forget_call(struct afork_rpc *rpc, const struct afork_call *call, bool dropped)
{
    struct afork__rpc_slot *slot = afork__rpc_slot_of(rpc, call->id);

    if (slot && dropped)
        slot->call = NULL;
    else if (slot)
        afork__rpc_free_slot(rpc, slot);
}
