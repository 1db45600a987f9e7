/* SPDX-License-Identifier: MIT
 *
 * The serve loop: commands in, one at a time. Never reads ahead, because what follows `r` belongs to
 * the function. Knows the order of things; what commands do is in eval.c and fork.c.
 */
#include "serve.h"
#include "hooks.h"
#include "rpc.h"
#include "server.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util.h"
#include "wire.h"

enum {
    PAYLOAD_START = 64 * 1024,
    PAYLOAD_KEEP = 1024 * 1024,
    TAKE_STRING = 4096,
    THREADS_POLL_MSEC = 500,
    WARM_USEC = 300,
};

_Alignas(4096) static struct afork__server the_server = {
    .command = -1, .lifeline = -1, .children.signal_fd = -1, .children.list_fd = -1,
    .reporter.fd = -1};
_Static_assert(sizeof the_server <= 4096, "one page");

/* Names of the original. AFork::Serve:: is the same stash. */
#define OWN_PACKAGE "AnyEvent::Fork::Serve"

void afork__server_title(pTHX_ struct afork__server *server, const char *what, size_t len)
{
    SV *title = GvSVn(server->title_gv);
    STRLEN owner_len;
    const char *owner = SvPV(GvSVn(server->owner_gv), owner_len);

    sv_setpvn(title, owner, owner_len);
    sv_catpvn_nomg(title, " ", 1);
    sv_catpvn_nomg(title, what, len);
    SvSETMAGIC(title);
}

SV *afork__server_title_new(pTHX_ struct afork__server *server, const char *what, size_t len)
{
    SV *title = newSVpvf("%" SVf " %.*s", SVfARG(GvSVn(server->owner_gv)), (int)len, what);

    sv_magic(title, (SV *)server->title_gv, PERL_MAGIC_sv, "0", 1);
    return title;
}

/* Setting `$0` writes to many places, each of which costs a forked process a page. The other value takes
 * its place instead, unless somebody has a reference to the old one, as English.pm has; and what the
 * value's magic does is done here, as far as it was not done in the parent. */
void afork__server_title_use(pTHX_ struct afork__server *server, SV *title, const char *what,
                             size_t len)
{
    size_t room = PL_origalen;

    if (!title || SvREFCNT(GvSVn(server->title_gv)) != 1 || SvCUR(title) + 1 >= room) {
        afork__server_title(aTHX_ server, what, len);
        return;
    }
    GvSV(server->title_gv) = title;
    memcpy(PL_origargv[0], SvPVX(title), SvCUR(title));
    memset(PL_origargv[0] + SvCUR(title), 0, room - SvCUR(title));
    prctl(PR_SET_NAME, SvPVX(title));
    server->title = AFORK__TITLE_SET;
}

void afork__server_announce(pTHX_ struct afork__server *server)
{
    if (server->unsaid) {
        server->unsaid = false;
        afork__report(&server->reporter, AFORK__FORKED, AFORK__PHASE_NONE, NULL, 0);
    }
    if (server->title == AFORK__TITLE_EXECUTED)
        afork__server_title(aTHX_ server, STR_WITH_LEN("AnyEvent::Fork/exec"));
    else if (server->title == AFORK__TITLE_FORKED)
        afork__server_title(aTHX_ server, STR_WITH_LEN("AnyEvent::Fork"));
    server->title = AFORK__TITLE_SET;
}

void afork__server_need_handle(pTHX_ struct afork__server *server)
{
    if (!av_count(server->args))
        av_push(server->args, afork__handle_new(aTHX_ server->command));
}

XS_INTERNAL(xs_run_args);

/* run_args exists only while a process serves. Taking its body away makes it undefined, and writes to
 * one page only. */
static void show_run_args(pTHX_ bool show)
{
    static CV *cv;

    if (!cv)
        cv = get_cvs(OWN_PACKAGE "::run_args", GV_ADD);
    if (show == (CvISXSUB(cv) && CvXSUB(cv) == xs_run_args))
        return;
    if (show) {
        newXS_flags(OWN_PACKAGE "::run_args", xs_run_args, __FILE__, "", 0);
    } else {
        CvISXSUB_off(cv);
        CvXSUB(cv) = NULL;
    }
}

static void free_payload(struct afork__server *server)
{
    Safefree(server->large);
    server->large = NULL;
    server->large_room = 0;
}

void afork__server_release(pTHX_ struct afork__server *server)
{
    server->active = false;
    afork__children_set_root(&server->children, false);
    afork__children_close(&server->children);
    afork__reporter_close(&server->reporter);
    if (server->fds.count)
        afork__fd_queue_clear(&server->fds);
    if (server->plan_due)
        afork__server_drop_plan(server);
    show_run_args(aTHX_ false);
}

/* Handlers of user code run as if the server were not there. */
static void run_signal_handlers(pTHX_ struct afork__server *server)
{
    afork__server_before_code(server);
    PERL_ASYNC_CHECK();
    afork__server_after_code(aTHX_ server);
}

static bool is_cold_spare(const struct afork__server *server)
{
    return server->spare && !server->warm;
}

/* Waits as poll() does, and not at all if there are signals to be handled: one may have come since they
 * were looked for. Where code never set a handler, none can come. */
static int wait_for_events(pTHX_ const struct afork__server *server, struct pollfd *fds, nfds_t n)
{
    struct timespec timeout = {0}, *limit = NULL;
    sigset_t all, before;

    if (is_cold_spare(server)) { /* under high demand it has a command by then */
        timeout.tv_nsec = WARM_USEC * 1000;
        limit = &timeout;
    } else if (server->children.watching && server->threads.count > 1) {
        /* Another thread may swallow SIGCHLD, which is blocked in this one only; then children have to be
         * looked at from time to time. */
        timeout.tv_nsec = THREADS_POLL_MSEC * 1000 * 1000;
        limit = &timeout;
    }
    if (!PL_psig_ptr)
        return ppoll(fds, n, limit, NULL);
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    int ready = PL_sig_pending ? -1 : ppoll(fds, n, limit, &before);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return ready;
}

/* Waits until the status socket has room, the host is lost, or a child has ended. */
static void wait_for_children(pTHX_ struct afork__server *server)
{
    bool all_told = afork__children_reap(&server->children, &server->reporter);
    struct pollfd fds[] = {
        {.fd = server->reporter.fd, .events = all_told ? 0 : POLLOUT},
        {.fd = server->children.signal_fd, .events = POLLIN},
    };

    if (all_told && !afork__children_left(&server->children))
        return;
    int ready = wait_for_events(aTHX_ server, fds, 2);
    if (ready == 0)
        afork__children_suspect(&server->children);
    if (ready <= 0)
        return;
    if (fds[0].revents & (POLLHUP | POLLERR))
        server->reporter.lost = true;
    if (fds[1].revents)
        afork__children_drain_signals(&server->children);
}

/* The end of a server that did not become a function. A root stays until the ends of its children are
 * told; others leave that to it. */
__attribute__((noreturn))
static void leave(pTHX_ struct afork__server *server, int status)
{
    if (server->spare) /* it never was anything; if it fails, it may have been handed out */
        _exit(status);
    shutdown(server->command, SHUT_WR);
    afork__children_suspect(&server->children);
    if (server->children.root) {
        afork__children_watch(&server->children);
        while (!server->reporter.lost && afork__children_left(&server->children)) {
            wait_for_children(aTHX_ server);
            if (PL_sig_pending)
                run_signal_handlers(aTHX_ server);
        }
    } else {
        afork__children_reap(&server->children, &server->reporter);
    }
    afork__report_drain(&server->reporter);
    afork__server_release(aTHX_ server);
    my_exit((U32)status);
}

void afork__server_fail(pTHX_ struct afork__server *server, enum afork__phase phase,
                        const char *text, size_t len)
{
    bool newline = len && text[len - 1] == '\n';

    afork__server_announce(aTHX_ server);
    afork__report(&server->reporter, AFORK__ERROR, phase, text, len);
    afork__report_drain(&server->reporter);
    warn("[%" SVf "] ERROR: %.*s%s", SVfARG(GvSVn(server->title_gv)), (int)len, text,
         newline ? "" : "\n");
    leave(aTHX_ server, 255);
}

static void on_child_signal(pTHX_ struct afork__server *server)
{
    afork__children_drain_signals(&server->children);
    if (PL_psig_ptr && PL_psig_ptr[SIGCHLD] &&
        afork__children_foreign_ended(&server->children)) {
        afork__children_unwatch(&server->children);
        raise(SIGCHLD);
        run_signal_handlers(aTHX_ server);
    }
}

/* Sleeps until there is a command, and looks after children and records meanwhile. */
static void wait_for_command(pTHX_ struct afork__server *server)
{
    if (!server->spare)
        afork__server_announce(aTHX_ server);
    for (;;) {
        if (PL_sig_pending)
            run_signal_handlers(aTHX_ server);
        bool all_told = afork__children_reap(&server->children, &server->reporter) &&
                        afork__report_flush(&server->reporter);
        struct pollfd fds[] = {
            {.fd = server->command, .events = POLLIN},
            {.fd = server->reporter.fd, .events = all_told ? 0 : POLLOUT},
            {.fd = server->children.watching ? server->children.signal_fd : -1, .events = POLLIN},
        };
        if (server->reporter.lost)
            leave(aTHX_ server, 0);
        int ready = wait_for_events(aTHX_ server, fds, 3);
        if (ready == 0 && is_cold_spare(server))
            afork__server_warm(aTHX_ server);
        else if (ready == 0)
            afork__children_suspect(&server->children);
        if (ready <= 0)
            continue;
        if (fds[1].revents & (POLLHUP | POLLERR))
            leave(aTHX_ server, 0);
        if (fds[2].revents)
            on_child_signal(aTHX_ server);
        if (fds[0].revents)
            return;
    }
}

/* Receives exactly `len` octets; at end of file the server leaves. */
static void receive(pTHX_ struct afork__server *server, void *data, size_t len)
{
    for (size_t got = 0; got < len;) {
        ssize_t n = afork__fd_receive(server->command, (char *)data + got, len - got, &server->fds,
                                      MSG_DONTWAIT);
        if (n > 0) {
            got += (size_t)n;
            server->spare = false;
        } else if (n == -EAGAIN) {
            wait_for_command(aTHX_ server);
        } else if (n == 0) {
            leave(aTHX_ server, 0);
        } else {
            SV *text = newSVpvf("cannot read commands: %s", Strerror((int)-n));
            afork__server_fail(aTHX_ server, AFORK__PHASE_PROTOCOL, SvPVX(text), SvCUR(text));
        }
    }
}

/* Receives a payload. Memory grows as octets come, whatever length a broken peer may claim, and always
 * has room for one more. */
static void receive_payload(pTHX_ struct afork__server *server, size_t len)
{
    server->payload = server->small;
    if (len < sizeof server->small) {
        receive(aTHX_ server, server->small, len);
        return;
    }
    for (size_t got = 0; got < len;) {
        if (server->large_room < got + 2) {
            size_t room = 2 * got < PAYLOAD_START ? PAYLOAD_START : 2 * got < len ? 2 * got : len;
            server->large_room = room + 1;
            Renew(server->large, server->large_room, char);
        }
        size_t part = server->large_room - 1 - got;
        if (part > len - got)
            part = len - got;
        receive(aTHX_ server, server->large + got, part);
        got += part;
    }
    server->payload = server->large;
}

static void add_arguments(pTHX_ struct afork__server *server, size_t len)
{
    const uint8_t *start = (const uint8_t *)server->payload;
    struct afork__strings list = {start, start + len};
    const void *data;
    size_t data_len;
    int more;

    while ((more = afork__strings_next(&list, &data, &data_len)) > 0) {
        if (list.pos == list.end && data_len >= TAKE_STRING && data_len >= len / 2) {
            afork__arguments_take_string(aTHX_ &server->arguments, server->large,
                                         (size_t)((const char *)data - server->large), data_len);
            server->large = NULL;
            server->large_room = 0;
            return;
        }
        afork__arguments_add_string(aTHX_ &server->arguments, data, data_len);
    }
    if (more < 0)
        afork__server_fail(aTHX_ server, AFORK__PHASE_PROTOCOL,
                           STR_WITH_LEN("malformed list of strings - stream corrupted?"));
}

static void add_handle(pTHX_ struct afork__server *server)
{
    char octet;

    receive(aTHX_ server, &octet, 1);
    int fd = afork__fd_queue_take(&server->fds);
    if (fd < 0)
        afork__server_fail(aTHX_ server, AFORK__PHASE_PROTOCOL,
                           STR_WITH_LEN("a handle came without descriptor - stream corrupted?"));
    afork__arguments_add_fd(aTHX_ &server->arguments, fd);
}

static void obey(pTHX_ struct afork__server *server, uint8_t command, size_t len)
{
    uint64_t identity = 0;
    unsigned flags = 0;

    switch (command) {
    case AFORK__EVAL:
        afork__server_eval(aTHX_ server, server->payload, len);
        return;
    case AFORK__ARGS:
        add_arguments(aTHX_ server, len);
        return;
    case AFORK__HANDLE:
        add_handle(aTHX_ server);
        return;
    case AFORK__FORK_AS:
        if (!server->extended || len != AFORK__FORK_AS_SIZE)
            break;
        memcpy(&identity, server->payload, sizeof identity);
        flags = (uint8_t)server->payload[sizeof identity];
        /* fall through */
    case AFORK__FORK:
        afork__server_fork(aTHX_ server, identity, flags);
        return;
    case AFORK__EXIT_MODE:
        if (!server->extended)
            break;
        afork__server_exit_mode(aTHX_ server, server->payload, len);
        return;
    case AFORK__END_WITH_HOST:
        if (!server->extended || len)
            break;
        afork__server_end_with_host(aTHX_ server);
        return;
    case AFORK__LIMITS:
        if (!server->extended)
            break;
        afork__server_limit(aTHX_ server, server->payload, len);
        return;
    case AFORK__GIVE_UP:
        if (!server->extended || len % sizeof identity)
            break;
        for (size_t i = 0; i < len; i += sizeof identity) {
            memcpy(&identity, server->payload + i, sizeof identity);
            afork__children_end(&server->children, &server->reporter, identity);
        }
        return;
    case AFORK__DETACH:
        if (!server->extended || len != 1)
            break;
        afork__server_detach(aTHX_ server, (uint8_t)*server->payload);
        return;
    case AFORK__ATTACH:
        if (len != AFORK__ATTACH_SIZE)
            break;
        afork__server_attach(aTHX_ server, server->payload);
        return;
    case AFORK__RUN:
        afork__server_run(aTHX_ server, server->payload, len);
    }
    SV *text = newSVpvf("received unknown request 0x%02x - stream corrupted?", command);
    afork__server_fail(aTHX_ server, AFORK__PHASE_PROTOCOL, SvPVX(text), SvCUR(text));
}

static bool is_command(uint8_t letter)
{
    switch (letter) {
    case AFORK__EVAL:
    case AFORK__ARGS:
    case AFORK__HANDLE:
    case AFORK__FORK:
    case AFORK__RUN:
    case AFORK__FORK_AS:
    case AFORK__EXIT_MODE:
    case AFORK__END_WITH_HOST:
    case AFORK__LIMITS:
    case AFORK__GIVE_UP:
    case AFORK__DETACH:
    case AFORK__ATTACH:
        return true;
    }
    return false;
}

__attribute__((noreturn))
static void serve(pTHX_ struct afork__server *server)
{
    dSP;

    PUSHSTACKi(PERLSI_UNKNOWN); /* loops of whoever called this are out of reach */
    PUTBACK;
    server->active = true;
    server->code_ran = true;
    server->threads.count = server->threads.warned = 1;
    show_run_args(aTHX_ true);

    /* As the original's `local $^W = 0`, and its @_. An exit restores both. */
    SAVEI8(PL_dowarn);
    server->warn = PL_dowarn;
    PL_dowarn &= (U8)~G_WARN_ON;
    SAVEGENERICSV(GvAV(PL_defgv));
    GvAV(PL_defgv) = server->args;

    for (;;) {
        uint8_t header[AFORK__HEADER_SIZE], command;
        uint32_t len;
        receive(aTHX_ server, header, sizeof header);
        afork__wire_parse_header(header, &command, &len);
        if (is_command(command))
            receive_payload(aTHX_ server, len);
        obey(aTHX_ server, command, len);
        if (server->large_room > PAYLOAD_KEEP)
            free_payload(server);
    }
}

/* Forgets the server that this process was copied from, or whose code called serve(). */
static void start_anew(pTHX_ struct afork__server *server)
{
    bool copied = server->active && (pid_t)server->reporter.pid != getpid();

    if (server->active) {
        afork__children_forked(&server->children);
        afork__server_release(aTHX_ server);
    }
    if (copied)
        close(server->command);
    afork__arguments_clear(aTHX_ &server->arguments);
    afork__fd_queue_clear(&server->fds);
    free_payload(server);
    afork__server_drop_plan(server);
    *server = (struct afork__server){
        .command = -1,
        .lifeline = server->lifeline, /* as long as the process lives */
        .title_gv = gv_fetchpvs("0", GV_ADD, SVt_PV),
        .owner_gv = gv_fetchpvs(OWN_PACKAGE "::OWNER", GV_ADDMULTI, SVt_PV),
        .args = newAV(),
        .children = server->children, /* none any more, but the memory for them */
    };
    av_extend(server->args, 7); /* room for what most functions are given */
    afork__reporter_init(&server->reporter, -1, 0);
}

XS_INTERNAL(xs_serve)
{
    dXSARGS;

    if (items != 1)
        croak_xs_usage(cv, "handle");
    struct afork__server *server = &the_server;
    start_anew(aTHX_ server);
    server->command = afork__handle_fd(aTHX_ ST(0));
    if (server->command < 0)
        croak(OWN_PACKAGE "::serve needs an open handle");
    av_push(server->args, SvROK(ST(0)) ? newSVsv(ST(0)) : newRV_inc(ST(0)));
    server->borrowed = true;
    serve(aTHX_ server);
}

/* Number `n` of @ARGV as an open descriptor that does not survive an exec. */
static int descriptor_argument(pTHX_ AV *argv, SSize_t n, const char *what)
{
    SV **number = av_fetch(argv, n, 0);
    int fd = number && looks_like_number(*number) ? (int)SvIV(*number) : -1;

    if (fd < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        croak(OWN_PACKAGE "::me unable to open %s socket: %s\n", what, Strerror(EBADF));
    return fd;
}

static void parse_flags(pTHX_ struct afork__server *server, SV *flags)
{
    const char *flag = SvPV_nolen(flags);

    while (*flag) {
        size_t len = strcspn(flag, ",");
        if (len == strlen("refuse-threads") && !memcmp(flag, "refuse-threads", len))
            server->refuse_threads = true;
        else
            croak(OWN_PACKAGE "::me does not know the flag '%.*s'\n", (int)len, flag);
        flag += len + (flag[len] == ',');
    }
}

/* What opens a file later must not get the number of a standard stream. */
static void keep_standard_streams(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            open("/dev/null", O_RDWR); /* the lowest free number */
}

/* The entry point of an executed server: @ARGV is FD OWNER [STATUS-FD IDENTITY FLAGS]. */
XS_INTERNAL(xs_me)
{
    dXSARGS;
    PERL_UNUSED_VAR(items);
    struct afork__server *server = &the_server;
    AV *argv = GvAVn(PL_argvgv);

    start_anew(aTHX_ server);
    server->command = descriptor_argument(aTHX_ argv, 0, "communication");
    SV **owner = av_fetch(argv, 1, 0);
    sv_setsv(GvSVn(server->owner_gv), owner ? *owner : &PL_sv_undef);
    server->title = AFORK__TITLE_EXECUTED;
    if (av_count(argv) == 5) {
        int status = descriptor_argument(aTHX_ argv, 2, "status");
        parse_flags(aTHX_ server, *av_fetch(argv, 4, 1));
        keep_standard_streams();
        server->extended = true;
        afork__children_set_root(&server->children, true);
        afork__reporter_init(&server->reporter, status,
                             strtoull(SvPV_nolen(*av_fetch(argv, 3, 1)), NULL, 10));
        afork__report(&server->reporter, AFORK__HELLO, AFORK__PHASE_NONE, NULL, 0);
    }
    av_clear(argv);
    serve(aTHX_ server);
}

/* The pending arguments, once: the list is cleared. */
XS_INTERNAL(xs_run_args)
{
    dXSARGS;
    AV *values = (AV *)sv_2mortal((SV *)newAV());

    PERL_UNUSED_VAR(items);
    SP -= items;
    afork__arguments_move(aTHX_ &the_server.arguments, values);
    EXTEND(SP, (SSize_t)av_count(values));
    while (av_count(values))
        PUSHs(sv_2mortal(av_shift(values)));
    PUTBACK;
}

void afork__serve_leave(void)
{
    struct afork__server *server = &the_server;

    afork__server_set_evaluated(NULL, (struct afork__strings){NULL, NULL});
    if (server->active && (pid_t)server->reporter.pid == getpid())
        afork__report_drain(&server->reporter);
}

void afork__serve_boot(pTHX)
{
    static const char *const modules[] = {"AnyEvent/Fork/Serve.pm", "AFork/Serve.pm"};
    HV *inc = get_hv("INC", GV_ADD);

    newXS(OWN_PACKAGE "::me", xs_me, __FILE__);
    newXS(OWN_PACKAGE "::serve", xs_serve, __FILE__);
    afork__hooks_boot(aTHX);
    afork__rpc_boot(aTHX);

    /* One stash under both names: functions and variables are the same. */
    GV *ours = gv_fetchpvs("AFork::Serve::", GV_ADD, SVt_PVHV);
    SvREFCNT_dec(GvHV(ours));
    GvHV(ours) = (HV *)SvREFCNT_inc(gv_stashpvs(OWN_PACKAGE, GV_ADD));

    for (size_t i = 0; i < C_ARRAY_LENGTH(modules); i++)
        (void)hv_store(inc, modules[i], (I32)strlen(modules[i]), newSVpv(PL_origargv[0], 0), 0);
}
