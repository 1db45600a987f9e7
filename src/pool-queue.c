/* SPDX-License-Identifier: MIT
 *
 * The queue of a pool. Nothing in it takes longer where there are more calls.
 *
 * Each list is sorted by `order`, which calls get when they come, or when they are moved. One
 * that comes back from a worker still has its own, which is lower than that of all that waited
 * meanwhile: so it is at the front again, and those of one worker are in their order.
 */
#include "config.h"

#include "pool.h"

static unsigned level_of(const struct afork_call *call)
{
    return (unsigned)(call->priority - AFORK_PRIORITY_MIN);
}

void afork__pool_queue_init(struct afork__pool_queue *queue)
{
    for (size_t i = 0; i < AFORK__PRIORITIES; i++)
        TAILQ_INIT(&queue->levels[i]);
}

static void added(struct afork__pool_queue *queue, struct afork_call *call, unsigned level)
{
    call->state = AFORK__CALL_QUEUED;
    queue->used |= UINT64_C(1) << level;
    queue->n++;
}

void afork__pool_queue_add(struct afork__pool_queue *queue, struct afork_call *call)
{
    unsigned level = level_of(call);

    call->order = ++queue->last_order;
    TAILQ_INSERT_TAIL(&queue->levels[level], call, link);
    added(queue, call, level);
}

void afork__pool_queue_return(struct afork__pool_queue *queue, struct afork_call *call)
{
    unsigned level = level_of(call);
    struct afork_call *next = TAILQ_FIRST(&queue->levels[level]);

    while (next && next->order < call->order)
        next = TAILQ_NEXT(next, link);
    if (next)
        TAILQ_INSERT_BEFORE(next, call, link);
    else
        TAILQ_INSERT_TAIL(&queue->levels[level], call, link);
    added(queue, call, level);
}

void afork__pool_queue_remove(struct afork__pool_queue *queue, struct afork_call *call)
{
    unsigned level = level_of(call);

    TAILQ_REMOVE(&queue->levels[level], call, link);
    if (TAILQ_EMPTY(&queue->levels[level]))
        queue->used &= ~(UINT64_C(1) << level);
    queue->n--;
}

struct afork_call *afork__pool_queue_first(const struct afork__pool_queue *queue)
{
    if (!queue->used)
        return NULL;
    return TAILQ_FIRST(&queue->levels[63 - __builtin_clzll(queue->used)]);
}
