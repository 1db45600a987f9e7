/* SPDX-License-Identifier: MIT
 *
 * The loop on a GMainContext. A channel is one of channel-g*.c.
 */
#include <afork/afork-glib.h>

#include "bench-loop-host.h"
#include "channel-glib.h"

static GMainLoop *main_loop;
static struct afork_glib_loop *adapter;

struct afork_loop *host_open_loop(void)
{
    main_loop = g_main_loop_new(NULL, FALSE);
    loop_check("loop", afork_glib_loop_new(NULL, G_PRIORITY_DEFAULT, &adapter));
    return afork_glib_loop_get(adapter);
}

void host_close_loop(void)
{
    afork_glib_loop_free(adapter);
    g_main_loop_unref(main_loop);
}

void loop_run(void)
{
    g_main_loop_run(main_loop);
}

void loop_turn(void)
{
    g_main_context_iteration(NULL, FALSE);
}

void loop_quit(void)
{
    g_main_loop_quit(main_loop);
}

static void on_entered(struct afork_process *process, int fd, const struct afork_exit *failure,
                       void *data)
{
    host_check_entered(fd, failure);
    channel_open(fd);
    host_is_open();
}

void host_run(struct afork_process *process, const char *function)
{
    loop_check("run", afork_process_run(process, function, on_entered, NULL));
}
