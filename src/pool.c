/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "call.h"

void afork__pool_withdraw(struct afork_call *call)
{
    (void)call;
}

struct afork__due *afork__pool_due(struct afork_pool *pool)
{
    (void)pool;
    return NULL;
}

int afork__pool_may_cancel(struct afork_call *call, enum afork_cancel how)
{
    (void)call;
    (void)how;
    return -1;
}

void afork__pool_move(struct afork_call *call, int priority)
{
    (void)call;
    (void)priority;
}
