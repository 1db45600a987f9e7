/* SPDX-License-Identifier: MIT
 *
 * The contract over: The poll loop as a part of a loop that waits with poll(2).
 */
#include "loop-conformance.h"

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    loop_conformance_add(&test_loop_foreign);
    return g_test_run();
}
