/* SPDX-License-Identifier: MIT
 *
 * How a process ends: what runs then, and whether it ends with the host.
 *
 * The lifeline is a pipe that nobody writes to. The host alone holds the end for writing, so that
 * the kernel closes it whatever the host ends by; a process that has the other end asks for SIGKILL
 * at that moment (src/perl/lifeline.c).
 */
#include "config.h"

#include <sys/stat.h>

#include "internal.h"
#include "spawn.h"
#include "util.h"

/* Whether the process may be given a command that only our own server knows. */
static int check_own_server(const struct afork_process *process)
{
    int result = afork__process_check_server(process);

    if (result < 0)
        return result;
    return process->peer == AFORK_PEER_OWN ? 0 : -ENOTSUP;
}

int afork_process_set_exit_mode(struct afork_process *process, enum afork_exit_mode mode)
{
    bool known = mode == AFORK_EXIT_PERL || mode == AFORK_EXIT_QUICK;
    int result = known ? check_own_server(process) : -EINVAL;
    const uint8_t octet = (uint8_t)mode;

    if (result < 0)
        return result;
    return afork__process_queued(
        process, afork__queue_command(&process->queue, AFORK__EXIT_MODE, &octet, sizeof octet));
}

static int lifeline_open(struct afork_context *context)
{
    if (context->lifeline[0] >= 0)
        return 0;
    int result = afork__pipe(context->lifeline);
    if (!result) /* a process that became another user opens it anew in its forks */
        fchmod(context->lifeline[0], 0444);
    return result;
}

int afork_process_end_with_host(struct afork_process *process)
{
    int result = check_own_server(process);

    if (!result)
        result = lifeline_open(process->context);
    if (result < 0)
        return result;
    AFORK__AUTO_FD copy = afork__duplicate(process->context->lifeline[0]);
    if (copy < 0)
        return copy;
    result = afork__queue_handle_for(&process->queue, copy, AFORK__END_WITH_HOST, NULL, 0);
    if (!result)
        afork__steal_fd(&copy);
    return afork__process_queued(process, result);
}

void afork__lifeline_close(struct afork_context *context)
{
    afork__close(&context->lifeline[0]);
    afork__close(&context->lifeline[1]);
}
