/* SPDX-License-Identifier: MIT
 *
 * The peer GSubprocess: `peer-gsubprocess MB CALLS COMMAND...` prints the us until
 * g_subprocess_newv() returned.
 */
#include <gio/gio.h>

#include "bench.h"

struct call {
    const char *const *command;
    GSubprocess *child;
};

static void call(void *data)
{
    struct call *self = data;
    g_autoptr(GError) error = NULL;

    self->child = g_subprocess_newv(self->command, G_SUBPROCESS_FLAGS_NONE, &error);
    if (!self->child)
        bench_fail(error->message, 0);
}

static void settle(void *data)
{
    struct call *self = data;
    g_autoptr(GError) error = NULL;

    if (!g_subprocess_wait_check(self->child, NULL, &error))
        bench_fail(error->message, 0);
    g_clear_object(&self->child);
}

int main(int argc, char **argv)
{
    if (argc < 4)
        bench_fail("arguments: MB CALLS COMMAND...", 0);
    bench_hold(bench_number(argv[1]));
    bench_stall(bench_number(argv[2]), call, settle,
                &(struct call){.command = (const char *const *)argv + 3});
    return 0;
}
