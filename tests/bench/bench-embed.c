/* SPDX-License-Identifier: MIT
 *
 * Forks a second from a template with modules, made in each of the ways there are:
 *
 *     bench-embed exec|early|self|template COUNT IN-FLIGHT
 *
 * Each process runs CORE::exit; its end of file is waited for. `template` is there in a program that was
 * built with BENCH_INTERPRETER, which has an interpreter of its own.
 */
#ifdef BENCH_INTERPRETER
#include <EXTERN.h>
#include <XSUB.h>
#include <perl.h>
#undef _
#endif

#include <afork/afork-perl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

static const char modules[] = "use strict; use warnings; use POSIX; use Socket; use List::Util;"
                              "use Data::Dumper; use File::Spec; use Scalar::Util; 1";

struct host {
    struct afork_poll *poll;
    struct afork_loop *loop;
    struct afork_process *template;
    size_t to_start, running;
};

struct channel {
    struct host *host;
    struct afork_io *io;
    int fd;
};

static void check(const char *what, int result)
{
    if (result < 0)
        bench_fail(what, result);
}

#ifdef BENCH_INTERPRETER
EXTERN_C void boot_DynaLoader(pTHX_ CV *cv);

static void boot(pTHX)
{
    newXS("DynaLoader::boot_DynaLoader", boot_DynaLoader, __FILE__);
}

static void start_interpreter(int argc, char **argv, char **env)
{
    static char name[] = "", dash_e[] = "-e", code[] = "1";
    static char *arguments[] = {name, dash_e, code, NULL};

    PERL_SYS_INIT3(&argc, &argv, &env);
    PerlInterpreter *my_perl = perl_alloc();
    perl_construct(my_perl);
    check("perl", perl_parse(my_perl, boot, 3, arguments, NULL) || perl_run(my_perl) ? -1 : 0);
    eval_pv(modules, TRUE);
}
#endif

static void start_next(struct host *host);

static void on_end(unsigned events, void *data)
{
    struct channel *channel = data;
    struct host *host = channel->host;
    char octet;

    if (read(channel->fd, &octet, 1) != 0)
        bench_fail("a worker wrote", 0);
    host->loop->ops->io_free(channel->io);
    close(channel->fd);
    free(channel);
    host->running--;
    if (host->to_start)
        start_next(host);
    else if (!host->running)
        afork_poll_quit(host->poll);
}

static void on_entered(struct afork_process *process, int fd, const struct afork_exit *failure,
                       void *data)
{
    struct host *host = data;

    if (failure)
        bench_fail(*failure->message ? failure->message : "run", fd);
    struct channel *channel = calloc(1, sizeof *channel);
    if (!channel)
        bench_fail("channel", ENOMEM);
    *channel = (struct channel){.host = host, .fd = fd};
    check("io_new",
          host->loop->ops->io_new(host->loop, fd, AFORK_IN, on_end, channel, &channel->io));
}

static void start_next(struct host *host)
{
    struct afork_process *process;

    host->to_start--;
    host->running++;
    check("fork", afork_process_fork(host->template, &process));
    check("run", afork_process_run(process, "CORE::exit", on_entered, host));
    afork_process_unref(process);
}

static void start_all(struct host *host, size_t n, size_t in_flight)
{
    host->to_start = n;
    while (host->to_start && in_flight--)
        start_next(host);
    check("poll", afork_poll_run(host->poll));
}

int main(int argc, char **argv, char **env)
{
    struct host host = {0};
    struct afork_context *context;
    afork_launch_cb *launch = NULL;

    if (argc > 1 && !strcmp(argv[1], "early")) {
        check("early", afork_perl_early_init());
        launch = afork_perl_early_launch;
    }
    if (argc < 4 || !strcmp(argv[1], "self")) { /* fewer: as a server */
        check("self", afork_perl_self_init(argc, argv));
        launch = afork_perl_self_launch;
    } else if (getenv("AFORK_PERL_SELF")) {
        check("self", afork_perl_self_init(argc, argv));
    }
#ifdef BENCH_INTERPRETER
    if (!strcmp(argv[1], "template")) {
        start_interpreter(argc, argv, env);
        launch = afork_perl_template_launch;
    }
#endif
    check("poll", afork_poll_new(&host.poll));
    host.loop = afork_poll_loop(host.poll);
    check("context", afork_context_new(host.loop, NULL, &context));
    if (launch)
        check("launcher", afork_context_set_launcher(context, launch, NULL));
    check("template", afork_process_new_exec(context, &host.template));
    check("eval", afork_process_eval(host.template, modules, NULL));
    start_all(&host, 5, 1);
    double start = bench_now();
    start_all(&host, strtoul(argv[2], NULL, 10), strtoul(argv[3], NULL, 10));
    bench_print_rate(strtoul(argv[2], NULL, 10), start);
    afork_process_unref(host.template);
    afork_context_close(context);
    afork_poll_free(host.poll);
    return 0;
}
