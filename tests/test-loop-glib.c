/* SPDX-License-Identifier: MIT
 *
 * The contract over: GLib's main loop.
 */
#include "loop-conformance.h"

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    loop_conformance_add(&test_loop_glib);
    return g_test_run();
}
