/* SPDX-License-Identifier: MIT
 *
 * What the tests of the libev adapter share: its loop as the fixture drives it, and its channel.
 */
#ifndef TEST_EV_H
#define TEST_EV_H

#include <afork/afork-ev.h>

#include "test-channel.h"

/* What the `self` of the kind of loop test_loop_ev is. */
struct test_ev {
    struct ev_loop *ev;
    struct afork_ev_loop *loop;
};

static inline struct ev_loop *ev_of(const struct test *t)
{
    return ((struct test_ev *)t->loop_self)->ev;
}

/* For other kinds made from that one: a loop on libev's `ev`, which is taken. */
void *test_ev_new(struct ev_loop *ev);

#endif
