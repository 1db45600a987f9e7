/* SPDX-License-Identifier: MIT
 *
 * A running interpreter, forked into a template. The copy may stand in the middle of the program's own
 * Perl code, which must never go on here: so it gets stacks of its own, below which there is nothing
 * to return to, and what they held stays as it is until the end of the process, and beyond.
 */
#define PERL_CORE 1
#include "template-fork.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "exit.h"
#include "handles.h"
#include "inherited.h"
#include "launched.h"
#include "note-forks.h"
#include "serve.h"
#include "status.h"
#include "threads.h"

/* Descriptors that Perl has handles for. */
struct kept {
    int *fds;
    size_t n, room;
    bool failed;
};

static void keep(struct kept *kept, int fd)
{
    if (kept->failed || fd <= STDERR_FILENO)
        return;
    if (kept->n == kept->room) {
        size_t room = 2 * kept->room + 16;
        int *fds = realloc(kept->fds, room * sizeof *fds);
        kept->failed = !fds;
        if (!fds)
            return;
        kept->fds = fds;
        kept->room = room;
    }
    kept->fds[kept->n++] = fd;
}

static bool keep_handle(pTHX_ SV *sv, void *kept)
{
    const IO *io = (const IO *)sv;

    if (SvTYPE(sv) != SVt_PVIO)
        return false;
    if (IoDIRP(io) && IoTYPE(io) != IoTYPE_SOCKET)
        keep(kept, dirfd(IoDIRP(io)));
    if (IoIFP(io))
        keep(kept, PerlIO_fileno(IoIFP(io)));
    if (IoOFP(io))
        keep(kept, PerlIO_fileno(IoOFP(io)));
    return false;
}

/* Whether code runs because other code is only half compiled. (Of a string that is evaluated, or a file
 * that is required, there is a parser also while it runs.) */
static bool is_compiling(pTHX)
{
    if (PL_parser && IN_PERL_COMPILETIME)
        return true;
    for (const PERL_SI *stack = PL_curstackinfo; stack; stack = stack->si_prev)
        for (I32 i = stack->si_cxix; i >= 0; i--) {
            const PERL_CONTEXT *frame = &stack->si_cxstack[i];
            if (CxTYPE(frame) == CXt_SUB && CvSPECIAL(frame->blk_sub.cv))
                return true;
        }
    return false;
}

static const char *why_not(pTHX)
{
    if (is_compiling(aTHX))
        return "the interpreter compiles code at the moment";
    if (PL_phase == PERL_PHASE_CONSTRUCT || PL_phase >= PERL_PHASE_END)
        return "the interpreter is about to start or to end";
    return NULL;
}

static void warn_of_threads(const struct afork_launch *launch, unsigned n)
{
    uint8_t record[AFORK__RECORD_FIXED_SIZE + 160];
    size_t len = afork__status_encode(&(struct afork__status){.type = AFORK__WARNING,
                                                              .identity = launch->identity,
                                                              .pid = (uint32_t)getpid()},
                                      record);
    int text = snprintf((char *)record + len, sizeof record - len,
                        "%u threads run in the program: a forked process has only one of them and "
                        "may hang", n);

    send(launch->status_fd, record, len + (size_t)text, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void start_anew(pTHX)
{
    PERL_SET_CONTEXT(aTHX);
    init_stacks();
    PL_top_env = &PL_start_env;
    PL_restartop = NULL;
    PL_restartjmpenv = NULL;
    PL_op = NULL;
    PL_curcop = &PL_compiling;
    PL_curpm = NULL;
    PL_in_eval = EVAL_NULL;
    PL_parser = NULL;
    PL_phase = PERL_PHASE_RUN;
    PL_perl_destruct_level = 0;

    PL_sig_pending = 0;
    if (PL_psig_pend)
        Zero(PL_psig_pend, SIG_SIZE, int);
#ifdef PERL_USES_PL_PIDSTATUS
    hv_clear(PL_pidstatus);
#endif
    PL_srand_called = FALSE;
    STATUS_EXIT_SET(0);
}

/* Where the program itself is `$^X`, it must not be started in place of a perl. */
static void set_caretx(pTHX)
{
    char path[PATH_MAX];
    SV *caretx = get_sv("\030", GV_ADD);
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);

    if (len > 0)
        path[len] = '\0';
    if (len > 0 && SvPOK(caretx) && strEQ(SvPVX(caretx), path))
        sv_setpvs(caretx, AFORK_FOREIGN_PERL);
}

__attribute__((noreturn)) static void serve(pTHX)
{
    dJMPENV;
    int jumped;

    JMPENV_PUSH(jumped);
    if (jumped == 0)
        call_pv("AFork::Serve::me", G_VOID | G_DISCARD);
    else if (jumped != 2)
        STATUS_ALL_FAILURE;
    while (PL_scopestack_ix > 0)
        LEAVE;
    FREETMPS;
    JMPENV_POP;
    afork__exit(aTHX);
}

__attribute__((noreturn))
static void become_template(pTHX_ const struct afork_launch *launch, struct kept *kept,
                            unsigned n_threads)
{
    int error = afork__launched_place(launch);

    afork__launched_let_go(kept->fds, kept->n);
    if (!error)
        error = afork__launched_enter(launch, -1);
    if (error)
        afork__launched_fail("descriptors, directory or session", error);
    free(kept->fds);
    if (n_threads > 1)
        warn_of_threads(launch, n_threads);
    start_anew(aTHX);
    afork__launched_reset_signals(my_perl);
    afork__launched_own_title(aTHX);
    afork__inherited_note_program(aTHX);
    afork__serve_boot(aTHX);
    afork__hook_forks(aTHX_ true);
    set_caretx(aTHX);
    afork__launched_prepare(aTHX_ launch);
    serve(aTHX);
}

/* The fork itself. What is buffered would come out once more in the copy. */
static pid_t fork_copy(pTHX_ const struct afork_launch *launch, struct kept *kept,
                       unsigned n_threads)
{
    sigset_t all, before;

    afork__flush(aTHX);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* the program's handlers are not for the copy */
    pid_t pid = PerlProc_fork();
    if (pid == 0)
        become_template(aTHX_ launch, kept, n_threads);
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pid < 0 ? -error : pid;
}

pid_t afork__template_fork(const struct afork_launch *launch, void *interpreter, const char **why)
{
    PerlInterpreter *my_perl = interpreter ? interpreter : PERL_GET_CONTEXT;
    unsigned n_threads = afork__threads_count();
    struct kept kept = {0};

    *why = "this thread has no interpreter of the libperl that afork was built for";
    if (!my_perl)
        return -ENXIO;
    if ((*why = why_not(aTHX)))
        return -EBUSY;
    if (n_threads > 1 && launch->refuse_threads) {
        *why = "threads run in the program, and the context refuses to fork then";
        return -EDEADLK;
    }
    keep(&kept, launch->command_fd);
    keep(&kept, launch->status_fd);
    afork__any_value(aTHX_ keep_handle, &kept);
    pid_t pid = kept.failed ? -ENOMEM : fork_copy(aTHX_ launch, &kept, n_threads);
    free(kept.fds);
    return pid;
}
