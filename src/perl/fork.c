/* SPDX-License-Identifier: MIT
 *
 * Commands `f` and `F`: a copy of the server, on a command socket of its own.
 */
#include "exit.h"
#include "handles.h"
#include "hooks.h"
#include "rpc.h"
#include "server.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "limit-set.h"
#include "util.h"
#include "wire.h"

/* A fork that cannot be made. The host learns whose it was, and the server goes on; a host of the
 * original kind can only be told by the server's end. */
static void fork_failed(pTHX_ struct afork__server *server, uint64_t identity, const char *text)
{
    if (!server->extended)
        afork__server_fail(aTHX_ server, AFORK__PHASE_FORK, text, strlen(text));
    afork__report_status(&server->reporter, &(struct afork__status){
        .type = AFORK__ERROR,
        .phase = AFORK__PHASE_FORK,
        .identity = identity,
        .text = text,
        .text_len = strlen(text),
    });
}

/* Looks for other threads. Returns whether the fork may go on. */
static bool check_threads(pTHX_ struct afork__server *server, uint64_t identity)
{
    struct afork__threads *threads = &server->threads;
    char text[AFORK__THREADS_LABEL_MAX + 160];

    if (!afork__threads_rose(threads) && !(server->refuse_threads && threads->count > 1))
        return true;
    snprintf(text, sizeof text,
             "%u threads run here since '%s': a forked process has only one of them and may hang",
             threads->count, threads->label);
    if (server->refuse_threads) {
        fork_failed(aTHX_ server, identity, text);
        return false;
    }
    if (server->extended)
        afork__report(&server->reporter, AFORK__WARNING, AFORK__PHASE_NONE, text, strlen(text));
    else
        warn("%s\n", text);
    return true;
}

/* What is buffered would come out, or be read, once more in the child. Only code can have put it
 * there. */
static void flush_handles(pTHX_ struct afork__server *server)
{
    if (!server->code_ran)
        return;
    afork__flush(aTHX);
    server->code_ran = false;
}

/* The first thing a child does: it stops being the process it was copied from. */
static void become_child(pTHX_ struct afork__server *server, int socket, uint64_t identity,
                         unsigned flags)
{
    if (PL_sig_pending) {
        PL_sig_pending = 0;
        Zero(PL_psig_pend, SIG_SIZE, int);
    }
#ifdef PERL_USES_PL_PIDSTATUS
    if (HvUSEDKEYS(PL_pidstatus))
        hv_clear(PL_pidstatus);
#endif
    if (PL_srand_called)
        PL_srand_called = FALSE; /* the next rand() seeds anew */

    if (server->borrowed) {
        /* The caller's handle still stands for the parent's socket. */
        do_close((GV *)SvRV(*av_fetch(server->args, 0, 0)), FALSE);
        av_clear(server->args);
        server->borrowed = false;
        server->command = socket;
    } else {
        /* On the parent's number the parent's handle, if any, is ours. */
        dup3(socket, server->command, O_CLOEXEC);
        close(socket);
    }
    if (server->fds.count)
        afork__fd_queue_clear(&server->fds);
    server->forked = true;
    server->spare = flags & AFORK__FORK_SPARE;
    server->warm = false;
    server->title = AFORK__TITLE_FORKED;
    server->unsaid = server->extended;
    server->threads.count = 1;
    afork__reporter_forked(&server->reporter, identity);
    afork__children_forked(&server->children);
}

/* What was asked of the process that this one was forked from, and costs time where it was only. */
static void inherit(pTHX_ struct afork__server *server)
{
    afork__exit_forked(aTHX);
    if (server->lifeline >= 0)
        afork__server_renew_lifeline(aTHX_ server, server->lifeline);
    if (server->plan_due)
        afork__server_confine(aTHX_ server);
    if (afork__hooks_exist())
        afork__hooks_run(aTHX_ server);
}

/* The handles that stand before the command. */
static void pop_handles(pTHX_ struct afork__server *server, unsigned flags, int *socket,
                        int *error_fd)
{
    *socket = afork__arguments_pop_fd(aTHX_ &server->arguments);
    if (flags & AFORK__FORK_STDERR)
        *error_fd = afork__arguments_pop_fd(aTHX_ &server->arguments);
    if (*socket < 0 || (flags & AFORK__FORK_STDERR && *error_fd < 0))
        afork__server_fail(aTHX_ server, AFORK__PHASE_PROTOCOL,
                           STR_WITH_LEN("fork without a socket - stream corrupted?"));
}

/* For children that become the back end that was prepared. */
static void prepare_back_end(pTHX_ struct afork__server *server, SV **title)
{
    STRLEN len;
    const char *name = SvPV(afork__rpc_prepared_name(), len);

    if (!*title)
        *title = afork__server_title_new(aTHX_ server, name, len);
    afork__rpc_keep_handle(aTHX_ AvARRAY(server->args)[0]);
}

void afork__server_fork(pTHX_ struct afork__server *server, uint64_t identity, unsigned flags)
{
    AFORK__AUTO_FD socket = -1, error_fd = -1;

    pop_handles(aTHX_ server, flags, &socket, &error_fd);
    if (!check_threads(aTHX_ server, identity))
        return;
    if (!server->children.own)
        afork__exit_prepare(aTHX);
    afork__server_need_handle(aTHX_ server);
    if (flags & AFORK__FORK_SPARE)
        afork__warm_prepare(aTHX);
    if (afork__children_reserve(&server->children) < 0 ||
        afork__children_watch(&server->children) < 0) {
        fork_failed(aTHX_ server, identity, "fork: out of memory or descriptors");
        return;
    }
    if (afork__rpc_prepared_title())
        prepare_back_end(aTHX_ server, afork__rpc_prepared_title());
    afork__exit_before_fork(aTHX_ server->code_ran);
    flush_handles(aTHX_ server);

    sigset_t all, serving;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &serving);
    pid_t pid = PerlProc_fork();
    if (pid == 0) {
        if (error_fd >= 0)
            dup2(error_fd, STDERR_FILENO);
        become_child(aTHX_ server, afork__steal_fd(&socket), identity, flags);
        afork__close(&error_fd);
        inherit(aTHX_ server);
        return;
    }
    int error = errno;
    sigprocmask(SIG_SETMASK, &serving, NULL);
    if (pid > 0) {
        afork__children_add(&server->children, pid, identity);
        return;
    }
    char text[128];
    bool limited = error == EPERM && server->filters & AFORK__NO_NEW_PROCESSES;
    snprintf(text, sizeof text, "fork: %s%s", strerror(error),
             limited ? ", limits: no_new_processes" : "");
    fork_failed(aTHX_ server, identity, text);
}
