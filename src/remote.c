/* SPDX-License-Identifier: MIT
 *
 * Remote processes: the record, and the start of the perl behind a command. The program that it is
 * sent is remote.pl; doc/wire-protocol.md says how both speak. From the moment on when the function
 * is entered, a remote process is any worker.
 *
 * Nothing is ever read of what the function may have written: the socket is looked at, and as much
 * taken from it as is ours.
 */
#include "config.h"

#include "remote.h"

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
#include "fdpass.h"
#include "internal.h"
#include "remote-program.h"
#include "spawn.h"
#include "util.h"

enum {
    START_TIMEOUT_USEC = 30000000,
    NOISE_MAX = 65536,
    QUOTED_MAX = 200,      /* octets of noise that are told */
    CLOSED_USEC = 1000000, /* for a command that closed its end to end itself */
    RANDOM_SIZE = 16,
    ANSWER_SIZE = 5,
    ANSWER_TEXT_MAX = AFORK__RECORD_TEXT_MAX,
};

/* The token is this with the random octets as hexadecimal number. Its first octet comes once, so
 * that a search need not go back. */
#define TOKEN_FORMAT "<afork:%s>"
enum { TOKEN_SIZE = sizeof TOKEN_FORMAT - sizeof "%s" + 2 * RANDOM_SIZE };

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define ORDER "N"
#else
#define ORDER "V"
#endif

/* What copies of a record share. */
struct command {
    unsigned refs;
    char **argv; /* one block with its strings; NULL: `connect` */
    char *words; /* the same for messages */
    afork_remote_connect_cb *connect;
    void *connect_data;
    int64_t start_timeout;
    size_t noise_max;
    bool strict;
};

enum state {
    STARTING,  /* the program is sent, the token is looked for */
    OBEYING,   /* the perl is there: commands are sent, the token is looked for again */
    ANSWERING, /* a letter and the length of a text, */
    TELLING,   /* the text */
};

struct start {
    struct afork_process *process;
    enum state state;
    pid_t pid; /* of the command; 0 once the process knows it */
    int error; /* the command could not be started, which is to be told */
    int fd;    /* -1: not connected yet */
    struct afork_io *io;
    bool closed; /* the other end has closed it */
    bool broken; /* it takes nothing any more, but may have told why */
    struct afork__turn turn;
    struct afork__deadline deadline;

    char *program;
    size_t program_len, program_sent;
    char token[TOKEN_SIZE + 1];
    size_t matched; /* octets of the token */
    size_t noise;   /* octets that came besides */
    size_t quoted_len;
    char quoted[QUOTED_MAX];

    size_t got; /* of what follows */
    uint8_t answer[ANSWER_SIZE];
    uint32_t text_len;
    char text[ANSWER_TEXT_MAX];
};

struct afork__remote {
    struct command *command; /* a reference */
    struct start *start;     /* NULL: not run, or its start is over */
    bool reaped;             /* the command's pid is not ours any more */
};

/* ---- The record ---- */

static void command_unref(struct command *command)
{
    if (--command->refs)
        return;
    free(command->argv);
    free(command->words);
    free(command);
}

static int copy_argv(struct command *command, const char *const *argv)
{
    size_t n = 0, size = 0;

    while (argv[n])
        size += strlen(argv[n++]) + 1;
    command->argv = malloc((n + 1) * sizeof *argv + size);
    command->words = malloc(size);
    if (!command->argv || !command->words)
        return -ENOMEM;
    char *to = (char *)(command->argv + n + 1), *word = command->words;
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(argv[i]) + 1;
        command->argv[i] = memcpy(to, argv[i], len);
        memcpy(word, argv[i], len);
        word[len - 1] = i + 1 < n ? ' ' : '\0';
        to += len;
        word += len;
    }
    command->argv[n] = NULL;
    return 0;
}

static int command_new(const struct afork_remote_options *options, struct command **ret)
{
    struct command *command = calloc(1, sizeof *command);

    if (!command)
        return -ENOMEM;
    *command = (struct command){
        .refs = 1,
        .connect = options->connect,
        .connect_data = options->connect_data,
        .start_timeout = options->start_timeout ? options->start_timeout : START_TIMEOUT_USEC,
        .noise_max = options->noise_max ? options->noise_max : NOISE_MAX,
        .strict = options->strict,
    };
    int result = options->argv ? copy_argv(command, options->argv) : 0;
    if (!options->argv && !(command->words = strdup("a connected perl")))
        result = -ENOMEM;
    if (result < 0)
        command_unref(command);
    else
        *ret = command;
    return result;
}

static int process_new(struct afork_context *context, struct command *command,
                       struct afork_process **ret)
{
    struct afork_process *process = calloc(1, sizeof *process);
    struct afork__remote *remote = calloc(1, sizeof *remote);

    if (!process || !remote) {
        free(process);
        free(remote);
        return -ENOMEM;
    }
    remote->command = command;
    command->refs++;
    process->remote = remote;
    process->peer = AFORK_PEER_ORIGINAL; /* it obeys commands, and does not report */
    process->adopted = command->connect; /* no child of ours */
    process->fd = -1;
    afork__process_join(process, context);
    process->watch_end = false;
    *ret = process;
    return 0;
}

static bool are_valid(const struct afork_remote_options *options)
{
    return options && options->size >= sizeof *options && !options->argv != !options->connect &&
           (!options->argv || (options->argv[0] && *options->argv[0])) &&
           options->start_timeout >= 0;
}

int afork_process_new_remote(struct afork_context *context,
                             const struct afork_remote_options *options, struct afork_process **ret)
{
    struct command *command = NULL;
    int result = ret && are_valid(options) ? afork__context_check(context) : -EINVAL;

    if (!result)
        result = afork__deadlines_prepare(context);
    if (!result)
        result = command_new(options, &command);
    if (result < 0)
        return result;
    result = process_new(context, command, ret);
    command_unref(command);
    return result;
}

int afork__remote_fork(struct afork_process *process, struct afork_process **ret)
{
    struct afork_process *copy;
    int result = process_new(process->context, process->remote->command, &copy);

    if (result < 0)
        return result;
    result = afork__queue_copy(&copy->queue, &process->queue);
    if (result < 0) {
        afork__process_abandon(copy);
        afork_process_unref(copy);
        return result;
    }
    *ret = copy;
    return 0;
}

void afork__remote_free(struct afork_process *process)
{
    if (!process->remote)
        return;
    command_unref(process->remote->command);
    free(process->remote);
}

/* ---- Words ---- */

/* Writes what was printed in printable form. */
static void quote(const struct start *start, char *out, size_t size)
{
    char *end = out + size - 8;

    *out = '\0';
    for (size_t i = 0; i < start->quoted_len && out < end; i++) {
        unsigned char c = (unsigned char)start->quoted[i];
        if (c == '\n')
            out += sprintf(out, "\\n");
        else if (c == '"' || c == '\\')
            out += sprintf(out, "\\%c", c);
        else if (c < ' ' || c >= 0x7f)
            out += sprintf(out, "\\x%02x", c);
        else
            out += sprintf(out, "%c", c);
    }
    if (start->noise > start->quoted_len)
        sprintf(out, "...");
}

void afork__remote_describe(const struct afork_process *process, char *text, size_t size)
{
    const struct start *start = process->remote->start;
    char quoted[4 * QUOTED_MAX + 16];
    size_t len = strlen(text);

    if (!start || !start->noise)
        return;
    quote(start, quoted, sizeof quoted);
    snprintf(text + len, size - len, "; it printed \"%s\"", quoted);
}

/* ---- Ends ---- */

void afork__remote_stop(struct afork_process *process)
{
    struct start *start = process->remote->start;

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

/* The end of a start: `format`, behind the words for the command, says why; `error` is a negative
 * errno. */
__attribute__((format(printf, 4, 5))) static void
fail(struct afork_process *process, enum afork_cause cause, int error, const char *format, ...)
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

/* The far end told why. It ends by itself. */
static void failed_there(struct afork_process *process, enum afork_cause cause)
{
    const struct start *start = process->remote->start;

    afork__process_failed(process, cause, start->text, start->text_len);
    if (!process->pid)
        afork__process_ended(process, -1, NULL);
}

static void entered(struct afork_process *process)
{
    struct start *start = process->remote->start;

    process->context->loop->ops->io_free(start->io);
    start->io = NULL;
    process->fd = afork__steal_fd(&start->fd);
    afork__remote_stop(process);
    afork__process_entered(process);
    if (!afork__process_is_child(process)) /* whose channel is given away */
        afork__process_ended(process, -1, NULL);
}

static void answered(struct afork_process *process)
{
    const struct start *start = process->remote->start;

    switch (start->answer[0]) {
    case 'r':
        if (!afork__queue_is_empty(&process->queue))
            break;
        entered(process);
        return;
    case 'e':
        failed_there(process, AFORK_CAUSE_EVAL);
        return;
    case 'm':
        failed_there(process, AFORK_CAUSE_REQUIRE);
        return;
    case 'f':
        failed_there(process, AFORK_CAUSE_FUNCTION);
        return;
    }
    fail(process, AFORK_CAUSE_PROTOCOL, -EPROTO, "sent an answer that makes no sense");
}

/* ---- Sending ---- */

static void watch(struct afork_process *process)
{
    const struct start *start = process->remote->start;
    bool waits = start->program_sent < start->program_len ||
                 (start->state == OBEYING && !afork__queue_is_empty(&process->queue));
    unsigned events = start->closed ? 0 : AFORK_IN;

    if (waits && !start->broken && !start->closed && !process->retry)
        events |= AFORK_OUT;
    if (start->io)
        process->context->loop->ops->io_set(start->io, events);
}

/* As afork__queue_send(). */
static int send_program(struct start *start)
{
    while (start->program_sent < start->program_len) {
        struct iovec rest = {.iov_base = start->program + start->program_sent,
                             .iov_len = start->program_len - start->program_sent};
        ssize_t sent = afork__fd_send(start->fd, &rest, 1, NULL, 0, MSG_DONTWAIT);
        if (sent == -EAGAIN)
            return 0;
        if (sent < 0)
            return sent == -ENOMEM ? -ENOBUFS : (int)sent;
        start->program_sent += (size_t)sent;
    }
    return 1;
}

static void send_more(struct afork_process *process)
{
    struct start *start = process->remote->start;
    int result = send_program(start);

    if (result == 1 && start->state == OBEYING)
        result = afork__queue_send(&process->queue, start->fd, AFORK__SHARE_OCTETS);
    if (process->remote->start != start) /* releasing what was sent may call the library */
        return;
    process->retry = result == -ENOBUFS;
    if (process->retry) {
        process->context->retry = true;
        afork__notice_set_timer(process->context);
    } else if (result < 0) {
        start->broken = true; /* what it said before, or how it ended, tells more */
    }
    watch(process);
}

void afork__remote_send(struct afork_process *process)
{
    struct start *start = process->remote->start;

    if (!start || afork__context_is_copy(process->context))
        return;
    afork__process_ref_memory(process);
    if (start->pid) {
        pid_t pid = start->pid;
        start->pid = 0;
        afork__process_started(process, pid);
    }
    start = process->remote->start;
    if (start && start->fd >= 0 && !start->broken && !start->closed)
        send_more(process);
    afork__process_unref_memory(process);
}

/* ---- Receiving ---- */

static void note_noise(struct start *start, const char *data, size_t len)
{
    size_t room = QUOTED_MAX - start->quoted_len, n = len < room ? len : room;

    memcpy(start->quoted + start->quoted_len, data, n);
    start->quoted_len += n;
    start->noise += len;
}

/* Looks for the token in what was printed; the rest is noise. Returns how many of the octets were
 * looked at: up to the end of the token, or to that which is too much. */
static size_t search(struct start *start, const struct command *command, const char *data,
                     size_t len)
{
    size_t max = command->strict ? 0 : command->noise_max;

    for (size_t i = 0; i < len; i++) {
        if (data[i] != start->token[start->matched]) {
            note_noise(start, start->token, start->matched);
            start->matched = 0;
        }
        if (data[i] == start->token[start->matched])
            start->matched++;
        else
            note_noise(start, data + i, 1);
        if (start->matched == TOKEN_SIZE || start->noise > max)
            return i + 1;
    }
    return len;
}

/* The other end is closed. A command is given time to end, since its status tells more. */
static void far_end_closed(struct afork_process *process)
{
    struct start *start = process->remote->start;

    start->closed = true;
    watch(process);
    if (afork__process_is_child(process))
        afork__deadline_set(process->context, &start->deadline, afork__now() + CLOSED_USEC, false);
    else if (start->state == STARTING)
        fail(process, AFORK_CAUSE_START, -ECONNRESET, "closed the connection before it answered");
    else
        afork__process_ended(process, -1, NULL);
}

static void found(struct afork_process *process)
{
    struct start *start = process->remote->start;

    start->matched = 0;
    start->state++;
    if (start->state != OBEYING)
        return;
    process->hello = true;
    afork__deadline_clear(process->context, &start->deadline);
    afork__remote_send(process);
}

static void too_noisy(struct afork_process *process)
{
    const struct command *command = process->remote->command;

    if (command->strict)
        fail(process, AFORK_CAUSE_START, -EPROTO, "printed something of its own");
    else
        fail(process, AFORK_CAUSE_START, -EPROTO, "printed more than %zu octets of its own",
             command->noise_max);
}

/* Each of these reads from the socket once. They return how many octets were taken, or as recv().
 */
static ssize_t receive_token(struct afork_process *process)
{
    struct start *start = process->remote->start;
    const struct command *command = process->remote->command;
    char data[4096];
    ssize_t got = recv(start->fd, data, sizeof data, MSG_PEEK | MSG_DONTWAIT);

    if (got <= 0)
        return got;
    size_t len = search(start, command, data, (size_t)got);
    got = recv(start->fd, data, len, MSG_DONTWAIT);
    if (start->matched == TOKEN_SIZE)
        found(process);
    else if (start->noise > (command->strict ? 0 : command->noise_max))
        too_noisy(process);
    return got;
}

static ssize_t receive_answer(struct afork_process *process)
{
    struct start *start = process->remote->start;
    ssize_t got = recv(start->fd, start->answer + start->got, ANSWER_SIZE - start->got,
                       MSG_DONTWAIT);

    if (got <= 0)
        return got;
    start->got += (size_t)got;
    if (start->got < ANSWER_SIZE)
        return got;
    memcpy(&start->text_len, start->answer + 1, sizeof start->text_len);
    start->got = 0;
    start->state = TELLING;
    if (start->text_len > ANSWER_TEXT_MAX)
        fail(process, AFORK_CAUSE_PROTOCOL, -EPROTO, "sent an answer that makes no sense");
    else if (!start->text_len)
        answered(process);
    return got;
}

static ssize_t receive_text(struct afork_process *process)
{
    struct start *start = process->remote->start;
    ssize_t got = recv(start->fd, start->text + start->got, start->text_len - start->got,
                       MSG_DONTWAIT);

    if (got <= 0)
        return got;
    start->got += (size_t)got;
    if (start->got == start->text_len)
        answered(process);
    return got;
}

static ssize_t receive_some(struct afork_process *process)
{
    switch (process->remote->start->state) {
    case ANSWERING:
        return receive_answer(process);
    case TELLING:
        return receive_text(process);
    default:
        return receive_token(process);
    }
}

/* Reads about `share` octets of what is there, as long as it is ours. */
static void receive(struct afork_process *process, size_t share)
{
    const struct start *start;
    size_t done = 0;

    while (done < share && (start = process->remote->start) && start->fd >= 0 && !start->closed) {
        ssize_t got = receive_some(process);
        if (got > 0) {
            done += (size_t)got;
        } else if (got < 0 && errno == EAGAIN) {
            return;
        } else if (got == 0 || errno != EINTR) {
            far_end_closed(process);
            return;
        }
    }
}

void afork__remote_drain(struct afork_process *process)
{
    process->remote->reaped = true;
    if (process->remote->start)
        receive(process, SIZE_MAX);
}

static void io_cb(unsigned events, void *data)
{
    struct afork_process *process = data;
    struct afork_context *context = process->context;

    if (afork__context_is_copy(context))
        return;
    afork__context_ref(context);
    afork__process_ref_memory(process);
    if (events & AFORK_OUT)
        afork__remote_send(process);
    if (events & AFORK_IN && process->remote->start)
        receive(process, AFORK__SHARE_OCTETS);
    afork__process_unref_memory(process);
    afork__context_recheck(context);
    afork__notice_deliver(context);
    afork__context_unref(context);
}

/* ---- The start ---- */

/* The token, and the same backwards, for the program: what prints all that it reads, as a terminal
 * does, does not print the token. */
static int make_token(struct start *start, char backwards[2 * RANDOM_SIZE + 1])
{
    uint8_t random[RANDOM_SIZE];
    char forwards[2 * RANDOM_SIZE + 1];

    if (getrandom(random, sizeof random, GRND_NONBLOCK) < 0) /* never less than all of so few */
        return -errno;
    for (size_t i = 0; i < RANDOM_SIZE; i++)
        snprintf(forwards + 2 * i, 3, "%02x", random[i]);
    for (size_t i = 0; i < 2 * RANDOM_SIZE; i++)
        backwards[i] = forwards[2 * RANDOM_SIZE - 1 - i];
    backwards[2 * RANDOM_SIZE] = '\0';
    snprintf(start->token, sizeof start->token, TOKEN_FORMAT, forwards);
    return 0;
}

/* What comes before remote.pl. Its first line ends a shell that reads it, where a command has
 * forgotten its perl: the rest is nothing for shells. */
static int make_program(struct start *start)
{
    char backwards[2 * RANDOM_SIZE + 1], host[256];
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

static int watch_socket(struct start *start, int fd)
{
    struct afork_loop *loop = start->process->context->loop;
    int result = loop->ops->io_new(loop, fd, AFORK_IN | AFORK_OUT, io_cb, start->process,
                                   &start->io);

    if (!result)
        start->fd = fd;
    return result;
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

static int start_command(struct start *start)
{
    struct afork_process *process = start->process;
    AFORK__AUTO_FD error_fd = -1;
    int pair[2];
    int result = afork__socketpair(SOCK_STREAM, pair);

    if (result < 0)
        return result;
    AFORK__AUTO_FD far_fd = pair[1];
    result = watch_socket(start, pair[0]);
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
    struct start *start = AFORK__CONTAINER(deadline, struct start, deadline);
    struct afork_process *process = start->process;

    afork__process_ref_memory(process);
    if (!start->closed) /* the host may have been busy */
        receive(process, AFORK__SHARE_OCTETS);
    start = process->remote->start;
    if (start && start->closed)
        fail(process, AFORK_CAUSE_START, -ECONNRESET,
             "closed its standard input and output before the function was entered");
    else if (start && start->state == STARTING)
        fail(process, AFORK_CAUSE_START, -ETIMEDOUT, "did not start a perl within %.6g s",
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
    const struct command *command = process->remote->command;
    struct start *start = process->remote->start;
    int fd = command->connect(command->connect_data);
    AFORK__AUTO_FD owned = fd >= 0 ? fd : -1;

    if (process->remote->start != start) /* it was closed meanwhile */
        return;
    int result = fd < 0 ? fd : settle(&owned);
    if (!result)
        result = watch_socket(start, owned);
    if (result < 0) {
        fail(process, AFORK_CAUSE_START, result, "cannot be reached: %s", strerror(-result));
        return;
    }
    afork__steal_fd(&owned);
    afork__remote_send(process);
}

/* The first turn of the loop after the process was run. */
static void begin(struct afork__turn *turn)
{
    struct start *start = AFORK__CONTAINER(turn, struct start, turn);
    struct afork_process *process = start->process;

    afork__context_ref(process->context);
    afork__process_ref_memory(process);
    if (start->error)
        fail(process, AFORK_CAUSE_START, start->error, "cannot be executed: %s",
             strerror(-start->error));
    else
        connect_perl(process);
    struct afork_context *context = process->context;
    afork__process_unref_memory(process);
    afork__context_unref(context);
}

int afork__remote_run(struct afork_process *process, const char *function)
{
    const struct command *command = process->remote->command;
    struct afork__queue last;
    struct start *start = calloc(1, sizeof *start);

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
    afork__deadline_set(process->context, &start->deadline, afork__now() + command->start_timeout,
                        false);
    if (command->connect || start->error)
        afork__turn_due(process->context, &start->turn);
    return 0;
}
