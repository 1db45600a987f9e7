/* SPDX-License-Identifier: MIT
 *
 * Commands `W` and `X`: what is asked for the end of a process, and of those forked from it.
 */
#include "exit.h"
#include "lifeline.h"
#include "server.h"

#include <string.h>

#include "util.h"
#include "wire.h"

void afork__server_renew_lifeline(pTHX_ struct afork__server *server, int fd)
{
    char error[200];
    int armed = afork__lifeline_arm(fd, error, sizeof error);

    if (armed < 0)
        afork__server_fail(aTHX_ server, AFORK__PHASE_EVAL, error, strlen(error));
    afork__close(&server->lifeline);
    server->lifeline = armed;
}

void afork__server_end_with_host(pTHX_ struct afork__server *server)
{
    AFORK__AUTO_FD fd = afork__arguments_pop_fd(aTHX_ &server->arguments);

    if (fd < 0)
        afork__server_fail(aTHX_ server, AFORK__PHASE_PROTOCOL,
                           STR_WITH_LEN("no lifeline came - stream corrupted?"));
    afork__lifeline_disarm(&server->lifeline);
    afork__server_renew_lifeline(aTHX_ server, fd);
}

void afork__server_exit_mode(pTHX_ struct afork__server *server, const char *payload, size_t len)
{
    if (len != 1 || (payload[0] != AFORK__EXIT_PERL && payload[0] != AFORK__EXIT_QUICK))
        afork__server_fail(aTHX_ server, AFORK__PHASE_PROTOCOL,
                           STR_WITH_LEN("no such exit mode - stream corrupted?"));
    afork__exit_set_quick(aTHX_ payload[0] == AFORK__EXIT_QUICK, server->forked);
}
