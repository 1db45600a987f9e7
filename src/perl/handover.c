/* SPDX-License-Identifier: MIT
 *
 * Commands `D` and `A`: a server that changes hosts. In between it speaks the original's protocol
 * only, as any server that was started without a status socket.
 */
#include "lifeline.h"
#include "server.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "util.h"
#include "wire.h"

/* Nobody reads what it says any more: a full or broken pipe would stop or kill it. */
static void silence(pTHX_ struct afork__server *server)
{
    AFORK__AUTO_FD null = afork__arguments_pop_fd(aTHX_ &server->arguments);

    if (null < 0)
        afork__server_fail(aTHX_ server, AFORK__PHASE_PROTOCOL,
                           STR_WITH_LEN("no standard error came - stream corrupted?"));
    PerlIO_flush(PerlIO_stderr());
    dup2(null, STDERR_FILENO);
}

void afork__server_detach(pTHX_ struct afork__server *server, unsigned flags)
{
    if (flags & AFORK__DETACH_STDERR)
        silence(aTHX_ server);
    afork__lifeline_disarm(&server->lifeline);
    afork__server_announce(aTHX_ server);
    afork__server_report_entered(server);
    afork__reporter_close(&server->reporter);
    server->reporter.lost = false; /* whoever has the command socket is the host */
    server->extended = server->refuse_threads = false;
    afork__children_disown(&server->children);
    afork__children_set_root(&server->children, false);
}

/* Somebody has a copy of the command socket. Both are told, and nobody gets the server. The
 * stranger is told first, since the host shuts the socket down. */
__attribute__((noreturn))
static void refuse(pTHX_ struct afork__server *server, int status, uint64_t identity)
{
    static const char text[] = "two hosts adopted this server, or it was not handed over";
    struct afork__reporter stranger;

    afork__reporter_init(&stranger, status, identity);
    afork__report(&stranger, AFORK__ERROR, AFORK__PHASE_PROTOCOL, text, sizeof text - 1);
    afork__reporter_close(&stranger);
    afork__server_fail(aTHX_ server, AFORK__PHASE_PROTOCOL, text, sizeof text - 1);
}

void afork__server_attach(pTHX_ struct afork__server *server, const char *payload)
{
    uint64_t identity;
    uint32_t owner;
    int status = afork__arguments_pop_fd(aTHX_ &server->arguments);

    memcpy(&identity, payload, sizeof identity);
    memcpy(&owner, payload + sizeof identity, sizeof owner);
    if (status < 0)
        afork__server_fail(aTHX_ server, AFORK__PHASE_PROTOCOL,
                           STR_WITH_LEN("attach without a socket - stream corrupted?"));
    if (server->extended)
        refuse(aTHX_ server, status, identity);

    server->extended = true;
    server->refuse_threads = payload[AFORK__ATTACH_SIZE - 1] & AFORK__ATTACH_REFUSE_THREADS;
    server->title = AFORK__TITLE_FORKED;
    sv_setuv(GvSVn(server->owner_gv), owner);
    afork__reporter_init(&server->reporter, status, identity);
    afork__children_become_root(&server->children);
    afork__report(&server->reporter, AFORK__HELLO, AFORK__PHASE_NONE, NULL, 0);
}
