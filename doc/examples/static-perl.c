/* SPDX-License-Identifier: MIT
 *
 * A program with a perl inside: it executes itself for Perl processes, and needs no perl, no libperl.so
 * and no afork on the machine. `static-perl CODE` evaluates Perl code in a worker and prints what comes
 * back. With an XS function of its own, which its workers find as if a module had it.
 *
 * Built with libafork-perl-embed (pkg-config afork-perl-embed-1.0), whose perl is libperl.a.
 */
#include <EXTERN.h>
#include <perl.h>
#include <XSUB.h>

#include <afork/afork-perl.h>
#include <stdio.h>
#include <unistd.h>

EXTERN_C void boot_DynaLoader(pTHX_ CV *cv);
EXTERN_C void xs_init(pTHX);

/* A function of the program's, in C. */
static XSPROTO(xs_triple)
{
    dXSARGS;
    if (items != 1)
        croak_xs_usage(cv, "number");
    XSRETURN_IV(3 * SvIV(ST(0)));
}

/* Takes the place of the library's: modules that are part of the program. */
void xs_init(pTHX)
{
    newXS("DynaLoader::boot_DynaLoader", boot_DynaLoader, __FILE__);
    newXS("Program::triple", xs_triple, __FILE__);
}

static void on_run(struct afork_process *process, int fd, const struct afork_exit *failure,
                   void *data)
{
    (void)process;
    if (failure)
        fprintf(stderr, "%s\n", failure->message);
    *(int *)data = fd;
}

static void on_exit_notice(struct afork_process *process, const struct afork_exit *end, void *loop)
{
    (void)process;
    (void)end;
    afork_poll_quit(loop);
}

static int work(struct afork_process *process, const char *code, int *channel,
                struct afork_poll *loop)
{
    int result = afork_process_eval(process, "sub work { syswrite $_[0], eval($_[1]) // $@ }", NULL);

    if (!result)
        result = afork_process_send_arg(process, code, strlen(code));
    if (!result)
        result = afork_process_on_exit(process, on_exit_notice, loop);
    return result ? result : afork_process_run(process, "work", on_run, channel);
}

int main(int argc, char **argv)
{
    struct afork_poll *loop;
    struct afork_context *context;
    struct afork_process *process;
    char text[4096];
    int channel = -1;

    /* Does not return where this process is to be a server. */
    int result = afork_perl_self_init(argc, argv);

    if (!result)
        result = afork_poll_new(&loop);
    if (!result)
        result = afork_context_new(afork_poll_loop(loop), NULL, &context);
    if (!result)
        result = afork_context_set_launcher(context, afork_perl_self_launch, NULL);
    if (!result)
        result = afork_process_new(context, &process);
    if (!result)
        result = work(process, argc > 1 ? argv[1] : "Program::triple(14)", &channel, loop);
    if (result < 0) {
        fprintf(stderr, "%d %s\n", result, afork_perl_error());
        return 1;
    }
    afork_process_unref(process);
    afork_poll_run(loop);

    ssize_t n = channel < 0 ? -1 : read(channel, text, sizeof text);
    if (n > 0)
        printf("%.*s\n", (int)n, text);
    if (channel >= 0)
        close(channel);
    afork_context_close(context);
    afork_poll_free(loop);
    return n > 0 ? 0 : 1;
}
