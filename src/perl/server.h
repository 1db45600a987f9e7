/* SPDX-License-Identifier: MIT
 *
 * What a process is while it serves: shared by the files that make up the server.
 */
#ifndef AFORK_PERL_SERVER_H
#define AFORK_PERL_SERVER_H

#include "args.h"
#include "fdpass.h"
#include "perl-api.h"
#include "reap.h"
#include "report.h"
#include "threads.h"
#include "wire.h"

enum { AFORK__SMALL_PAYLOAD = 512 };

enum afork__title {
    AFORK__TITLE_SET,
    AFORK__TITLE_EXECUTED, /* "OWNER AnyEvent::Fork/exec" is due */
    AFORK__TITLE_FORKED,   /* "OWNER AnyEvent::Fork" is due */
};

/* There is one in a process. A forked child writes to it before it writes anywhere else, and each
 * page it writes to is copied: so all of it, and small payloads, share one. */
struct afork__plan;

struct afork__server {
    bool active;
    bool extended; /* the host is ours */
    bool refuse_threads;
    bool unsaid;   /* the record `forked` is due */
    bool code_ran; /* since output was flushed */
    bool forked;   /* from another server; an adopted one is a root none the less */
    bool spare;    /* nobody has asked for this process yet */
    bool warm;     /* it is ready for that */
    bool borrowed; /* the caller of serve() has the handle, too */
    bool plan_due; /* forks have to confine themselves */
    enum afork__title title;
    uint32_t filters; /* AFORK__NO_NETWORK, ...: in force */
    U8 warn;     /* PL_dowarn of who called serve() */
    int command; /* the command socket */
    int lifeline; /* -1: it does not end with the host */
    GV *title_gv, *owner_gv; /* of $0 and $OWNER */
    AV *args;    /* @_ of the function: the handle of the command socket, once somebody needed it */
    struct afork__fd_queue fds;
    struct afork__arguments arguments;
    struct afork__reporter reporter;
    struct afork__children children;
    struct afork__threads threads;
    struct afork__plan *plan; /* how */
    char *payload; /* of the current command: `small` or `large` */
    char *large;
    size_t large_room;
    char small[AFORK__SMALL_PAYLOAD];
};

/* Says what is due before any code runs or the server sleeps: record and title. */
void afork__server_announce(pTHX_ struct afork__server *server);

/* Sets `$0` to "OWNER what". */
void afork__server_title(pTHX_ struct afork__server *server, const char *what, size_t len);

/* Keeps such a title for children of this process, and has it be that of one of them. */
SV *afork__server_title_new(pTHX_ struct afork__server *server, const char *what, size_t len);
void afork__server_title_use(pTHX_ struct afork__server *server, SV *title, const char *what, size_t len);

/* Makes the Perl handle of the command socket, as the first of `args`, if there is none. */
void afork__server_need_handle(pTHX_ struct afork__server *server);

/* Reports and tells an error and ends the process. */
void afork__server_fail(pTHX_ struct afork__server *server, enum afork__phase phase,
                        const char *text, size_t len) __attribute__((noreturn));

/* Around all code of the user's: SIGCHLD and the children that it makes are its own, and a copy of
 * the process that it made and did not end, which is no server, ends. */
void afork__server_before_code(struct afork__server *server);
void afork__server_after_code(pTHX_ struct afork__server *server);

/* Releases what the server has, but for the command socket and the arguments. */
void afork__server_release(pTHX_ struct afork__server *server);

/* Before the first spare is forked. */
void afork__warm_prepare(pTHX);

/* Makes a spare ready for its first command. */
void afork__server_warm(pTHX_ struct afork__server *server);
/* A process that was just forked confines itself as its template was told. */
void afork__server_confine(pTHX_ struct afork__server *server);

/* Releases what that was prepared with. */
void afork__server_drop_plan(struct afork__server *server);
/* Tells the host that nothing more will come from this server, and waits until all is said. */
void afork__server_report_entered(struct afork__server *server);

/* What an exit that perl knows nothing of is blamed on; nothing if `server` is NULL. */
void afork__server_set_evaluated(struct afork__server *server, struct afork__strings list);

/* Commands. `payload` is that of the frame. */
void afork__server_eval(pTHX_ struct afork__server *server, const char *payload, size_t len);
void afork__server_fork(pTHX_ struct afork__server *server, uint64_t identity, unsigned flags);
void afork__server_limit(pTHX_ struct afork__server *server, const char *payload, size_t len);
void afork__server_detach(pTHX_ struct afork__server *server, unsigned flags);
void afork__server_attach(pTHX_ struct afork__server *server, const char *payload);
void afork__server_run(pTHX_ struct afork__server *server, const char *function, size_t len)
    __attribute__((noreturn));

/* Ends with the host whose lifeline `fd` is; closes the one it had. */
void afork__server_renew_lifeline(pTHX_ struct afork__server *server, int fd);
void afork__server_end_with_host(pTHX_ struct afork__server *server);
void afork__server_exit_mode(pTHX_ struct afork__server *server, const char *payload, size_t len);

#endif
