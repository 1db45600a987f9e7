/* SPDX-License-Identifier: MIT
 *
 * Remote processes: the start of the perl behind a command or a connection, and its failure. The
 * program that it is sent is remote.pl.
 */
#include "config.h"

#include "remote-start.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "afork-remote.h"
#include "deadline.h"
#include "internal.h"
#include "remote-program.h"
#include "remote.h"
#include "spawn.h"
#include "util.h"

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define ORDER "N"
#else
#define ORDER "V"
#endif

/* ---- Ends ---- */

void afork__remote_stop(struct afork_process *process)
{
    struct afork__remote_start *start = process->remote->start;

    if (!start)
        return;
    process->remote->start = NULL;
    afork__deadline_clear(process->context, &start->deadline);
    afork__turn_clear(process->context, &start->turn);
    if (!afork__context_is_copy(process->context)) {
        process->context->loop->ops->io_free(start->io);
        /* A forked copy of the host may hold it, too. */
        if (start->fd >= 0)
            shutdown(start->fd, SHUT_RDWR);
    }
    afork__close(&start->fd);
    free(start->program);
    free(start);
}

/* What has not become a worker is of no use to anybody. */
static void kill_command(struct afork_process *process)
{
    if (!process->pid || process->ended || process->remote->reaped ||
        afork__context_is_copy(process->context))
        return;
    if (process->pidfd >= 0) {
        afork__pidfd_signal(process->pidfd, SIGKILL);
        return;
    }
    kill(process->pid, SIGKILL); /* not reaped, thus still this one */
    process->leaving = true;
    afork__process_update_busy(process);
    process->context->poll = true;
    afork__notice_set_timer(process->context);
}

void afork__remote_close(struct afork_process *process)
{
    if (process->remote->start)
        kill_command(process);
    if (!process->pid && !process->ended)
        afork__process_ended(process, -1, NULL);
}

void afork__remote_fail(struct afork_process *process, enum afork_cause cause, int error,
                        const char *format, ...)
{
    char text[2048];
    va_list arguments;
    int len = snprintf(text, sizeof text / 4, "%.300s ", process->remote->command->words);

    va_start(arguments, format);
    vsnprintf(text + len, sizeof text / 2, format, arguments);
    va_end(arguments);
    afork__remote_describe(process, text, sizeof text);
    process->error = error;
    kill_command(process);
    afork__process_failed(process, cause, text, strlen(text));
    if (!process->pid)
        afork__process_ended(process, -1, NULL);
}

/* ---- The start ---- */

/* The token, and the same backwards, for the program: what prints all that it reads, as a terminal
 * does, does not print the token. */
static int make_token(struct afork__remote_start *start,
                      char backwards[2 * AFORK__REMOTE_RANDOM_SIZE + 1])
{
    uint8_t random[AFORK__REMOTE_RANDOM_SIZE];
    char forwards[2 * AFORK__REMOTE_RANDOM_SIZE + 1];

    if (getrandom(random, sizeof random, GRND_NONBLOCK) < 0) /* never less than all of so few */
        return -errno;
    for (size_t i = 0; i < AFORK__REMOTE_RANDOM_SIZE; i++)
        snprintf(forwards + 2 * i, 3, "%02x", random[i]);
    for (size_t i = 0; i < 2 * AFORK__REMOTE_RANDOM_SIZE; i++)
        backwards[i] = forwards[2 * AFORK__REMOTE_RANDOM_SIZE - 1 - i];
    backwards[2 * AFORK__REMOTE_RANDOM_SIZE] = '\0';
    snprintf(start->token, sizeof start->token, AFORK__REMOTE_TOKEN_FORMAT, forwards);
    return 0;
}

/* What comes before remote.pl. Its first line ends a shell that reads it, where a command has
 * forgotten its perl: the rest is nothing for shells. */
static int make_program(struct afork__remote_start *start)
{
    char backwards[2 * AFORK__REMOTE_RANDOM_SIZE + 1], host[256];
    int result = make_token(start, backwards);

    if (result < 0)
        return result;
    if (gethostname(host, sizeof host) < 0)
        strcpy(host, "*");
    host[sizeof host - 1] = '\0';
    for (char *c = host; *c; c++)
        if (*c <= ' ' || *c > '~' || *c == '\'' || *c == '\\')
            *c = '_';
    result = asprintf(&start->program,
                      "eval 'exit 127'\n"
                      "if 0;\n"
                      "($AFork::Remote::ORDER, $AFork::Remote::OWNER, $AFork::Remote::TOKEN) ="
                      " ('" ORDER "', '%s:%ld', '<afork:' . reverse('%s') . '>');\n%s",
                      host, (long)getpid(), backwards, remote_program);
    if (result < 0) {
        start->program = NULL;
        return -ENOMEM;
    }
    start->program_len = (size_t)result;
    return 0;
}

static void free_environment(char ***environment)
{
    free(*environment);
}

/* The pid, or a negative errno. */
static pid_t spawn(struct afork_process *process, int far_fd, int error_fd)
{
    struct afork_context *context = process->context;
    char **argv = process->remote->command->argv;
    AFORK__CLEANUP(free_environment) char **environment = afork__context_environment(context);

    if (!environment)
        return -ENOMEM;
    struct afork__spawn spawn = {
        .path = argv[0],
        .argv = argv,
        .environment = environment,
        .directory = context->directory,
        .command_fd = -1,
        .status_fd = -1,
        .new_session = context->new_session,
    };
    afork__context_stdio(context, error_fd, spawn.stdio);
    spawn.stdio[STDIN_FILENO] = spawn.stdio[STDOUT_FILENO] = far_fd;
    return afork__spawn(&spawn);
}

/* Whether the same may work later, without the command being another. */
static bool is_shortage(int error)
{
    return error == -EMFILE || error == -ENFILE || error == -ENOMEM || error == -EAGAIN;
}

static int start_command(struct afork__remote_start *start)
{
    struct afork_process *process = start->process;
    AFORK__AUTO_FD error_fd = -1;
    int pair[2];
    int result = afork__socketpair(SOCK_STREAM, pair);

    if (result < 0)
        return result;
    AFORK__AUTO_FD far_fd = pair[1];
    result = afork__remote_watch(start, pair[0]);
    if (result < 0) {
        close(pair[0]);
        return result;
    }
    if (process->context->stdio[STDERR_FILENO].mode == AFORK_STDIO_TAIL)
        result = afork__tail_new(process->context, &process->tail, &error_fd);
    if (!result)
        start->pid = spawn(process, far_fd, error_fd);
    if (!result && start->pid > 0)
        return 0;
    if (!result)
        result = start->pid;
    start->pid = 0;
    start->error = result;
    process->context->loop->ops->io_free(start->io);
    start->io = NULL;
    afork__close(&start->fd);
    return is_shortage(result) ? result : 0;
}

static void start_timed_out(struct afork__deadline *deadline)
{
    struct afork__remote_start *start = AFORK__CONTAINER(deadline, struct afork__remote_start,
                                                         deadline);
    struct afork_process *process = start->process;

    afork__process_ref_memory(process);
    if (!start->closed) /* the host may have been busy */
        afork__remote_receive(process, AFORK__SHARE_OCTETS);
    start = process->remote->start;
    if (start && start->closed)
        afork__remote_fail(process, AFORK_CAUSE_START, -ECONNRESET,
                           "closed its standard input and output before the function was entered");
    else if (start && start->state == AFORK__REMOTE_STARTING)
        afork__remote_fail(process, AFORK_CAUSE_START, -ETIMEDOUT,
                           "did not start a perl within %.6g s",
                           (double)process->remote->command->start_timeout / AFORK__USEC_PER_SEC);
    afork__process_unref_memory(process);
}

/* What a connection has to be. 0 or a negative errno; the descriptor may be another one then. */
static int settle(int *fd)
{
    int type;
    socklen_t size = sizeof type;

    if (getsockopt(*fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0)
        return -errno;
    if (type != SOCK_STREAM)
        return -EPROTOTYPE;
    if (*fd <= STDERR_FILENO) {
        int lifted = afork__duplicate(*fd);
        if (lifted < 0)
            return lifted;
        close(*fd);
        *fd = lifted;
    }
    int flags = fcntl(*fd, F_GETFL);
    if (flags < 0 || fcntl(*fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(*fd, F_SETFD, FD_CLOEXEC) < 0)
        return -errno;
    return 0;
}

static void connect_perl(struct afork_process *process)
{
    const struct afork__remote_command *command = process->remote->command;
    struct afork__remote_start *start = process->remote->start;
    int fd = command->connect(command->connect_data);
    AFORK__AUTO_FD owned = fd >= 0 ? fd : -1;

    if (process->remote->start != start) /* it was closed meanwhile */
        return;
    int result = fd < 0 ? fd : settle(&owned);
    if (!result)
        result = afork__remote_watch(start, owned);
    if (result < 0) {
        afork__remote_fail(process, AFORK_CAUSE_START, result, "cannot be reached: %s",
                           strerror(-result));
        return;
    }
    afork__steal_fd(&owned);
    afork__remote_send(process);
}

/* The first turn of the loop after the process was run. */
static void begin(struct afork__turn *turn)
{
    struct afork__remote_start *start = AFORK__CONTAINER(turn, struct afork__remote_start, turn);
    struct afork_process *process = start->process;

    afork__context_ref(process->context);
    afork__process_ref_memory(process);
    if (start->error)
        afork__remote_fail(process, AFORK_CAUSE_START, start->error, "cannot be executed: %s",
                           strerror(-start->error));
    else
        connect_perl(process);
    struct afork_context *context = process->context;
    afork__process_unref_memory(process);
    afork__context_unref(context);
}

int afork__remote_run(struct afork_process *process, const char *function)
{
    const struct afork__remote_command *command = process->remote->command;
    struct afork__queue last;
    struct afork__remote_start *start = calloc(1, sizeof *start);

    if (!start)
        return -ENOMEM;
    start->process = process;
    start->fd = -1;
    start->turn.cb = begin;
    start->deadline.cb = start_timed_out;
    process->remote->start = start;
    afork__queue_init(&last, false);
    if (!process->perl)
        process->perl = strdup(command->words);
    int result = process->perl ? make_program(start) : -ENOMEM;
    if (!result)
        result = afork__queue_command(&last, AFORK__RUN, function, strlen(function));
    if (!result && !command->connect)
        result = start_command(start);
    if (result < 0) {
        afork__queue_clear(&last);
        afork__remote_stop(process);
        afork__tail_release(process->tail);
        process->tail = NULL;
        return result;
    }
    STAILQ_CONCAT(&process->queue.chunks, &last.chunks);
    afork__deadline_set(process->context, &start->deadline,
                        afork__later(afork__now(), command->start_timeout), false);
    if (command->connect || start->error)
        afork__turn_due(process->context, &start->turn);
    return 0;
}
