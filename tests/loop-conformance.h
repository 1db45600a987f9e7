/* SPDX-License-Identifier: MIT
 *
 * What afork-loop.h demands of a loop, as tests that run over any of them.
 */
#ifndef LOOP_CONFORMANCE_H
#define LOOP_CONFORMANCE_H

#include "test-lib.h"

void loop_conformance_add(const struct test_loop_type *type);

#endif
