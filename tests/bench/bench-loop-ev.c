/* SPDX-License-Identifier: MIT
 *
 * The loop on libev. A channel is a struct afork_ev_channel.
 */
#include <afork/afork-ev.h>
#include <errno.h>

#include "bench-loop-host.h"
#include "bench.h"

static struct ev_loop *main_loop;
static struct afork_ev_loop *adapter;
static struct afork_ev_channel channel;

struct afork_loop *host_open_loop(void)
{
    main_loop = ev_loop_new(EVFLAG_AUTO);
    if (!main_loop)
        bench_fail("ev_loop_new", 0);
    loop_check("loop", afork_ev_loop_new(main_loop, &adapter));
    return afork_ev_loop_get(adapter);
}

void host_close_loop(void)
{
    afork_ev_loop_free(adapter);
    ev_loop_destroy(main_loop);
}

void loop_run(void)
{
    ev_run(main_loop, 0);
}

void loop_turn(void)
{
    ev_run(main_loop, EVRUN_NOWAIT);
}

void loop_quit(void)
{
    ev_break(main_loop, EVBREAK_ONE);
}

/* ---- the channel ---- */

static void on_channel(EV_P_ struct afork_ev_channel *self, int revents)
{
    static char buffer[LOOP_BUFFER];
    ssize_t n;

    while ((n = afork_ev_channel_read(EV_A_ self, buffer, sizeof buffer)) > 0)
        loop_got((size_t)n);
    if (n != -EAGAIN)
        bench_fail("read", (int)n);
}

static void on_entered(struct afork_process *process, int fd, const struct afork_exit *failure,
                       void *data)
{
    host_check_entered(fd, failure);
    afork_ev_channel_init(&channel, on_channel, fd);
    afork_ev_channel_start(main_loop, &channel, EV_READ);
    host_is_open();
}

void host_run(struct afork_process *process, const char *function)
{
    loop_check("run", afork_process_run(process, function, on_entered, NULL));
}

void loop_send(const char *data, size_t len)
{
    loop_check("write", afork_ev_channel_write(main_loop, &channel, data, len));
}

void loop_end_echo(void)
{
    afork_ev_channel_close(main_loop, &channel);
}
