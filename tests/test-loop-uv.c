/* SPDX-License-Identifier: MIT
 *
 * The contract over: libuv's loop.
 */
#include "loop-conformance.h"

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    loop_conformance_add(&test_loop_uv);
    return g_test_run();
}
