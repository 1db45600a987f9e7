/* SPDX-License-Identifier: MIT
 *
 * A faster fork and exec: `fork-exec OUTPUT COMMAND [ARGUMENT...]` runs a program whose standard
 * output goes to the file OUTPUT and whose standard error comes back over the channel.
 *
 * The host pays for a write to a socket, whatever its size; the fork is made by a small template.
 * Between fork and exec runs Perl, not the few functions that are safe there in C: change the
 * directory, the user, limits, the environment as you like.
 */
#include <afork/afork.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The channel is close-on-exec; the copy that becomes standard error is not. What exec itself has to
 * say is the last that goes there. */
static const char code[] =
    "sub execute {"
    "    my ($channel, $output, @command) = @_;"
    "    open STDOUT, '>&', $output  or die qq(standard output: $!\\n);"
    "    open STDERR, '>&', $channel or die qq(standard error: $!\\n);"
    "    no warnings 'exec';"
    "    exec { $command[0] } @command or syswrite STDERR, qq($command[0]: $!\\n);"
    "    POSIX::_exit(127);"
    "}";

struct command {
    struct afork_poll *loop;
    struct afork_io *io;
    int fd;
    bool ended;
    int status;
};

_Noreturn static void fail(const char *what, int error)
{
    fprintf(stderr, "%s: %s\n", what, strerror(-error));
    exit(1);
}

static void quit_when_done(struct command *command)
{
    if (command->ended && command->fd < 0)
        afork_poll_quit(command->loop);
}

/* Passes on what the command says on its standard error. */
static void on_readable(unsigned events, void *data)
{
    struct command *command = data;
    char text[4096];
    ssize_t n = read(command->fd, text, sizeof text);

    if (n > 0)
        fwrite(text, 1, (size_t)n, stderr);
    if (n > 0 || (n < 0 && errno == EAGAIN))
        return;
    afork_poll_loop(command->loop)->ops->io_free(command->io);
    close(command->fd);
    command->fd = -1;
    quit_when_done(command);
}

static void on_entered(struct afork_process *process, int fd, const struct afork_exit *failure,
                       void *data)
{
    struct command *command = data;
    struct afork_loop *loop = afork_poll_loop(command->loop);

    command->fd = fd;
    if (failure) {
        fprintf(stderr, "%s\n", failure->message);
        return;
    }
    int error = loop->ops->io_new(loop, fd, AFORK_IN, on_readable, command, &command->io);
    if (error < 0)
        fail("watching the channel", error);
}

/* The process that executes the command is no child of ours; its end is told all the same. */
static void on_exit_notice(struct afork_process *process, const struct afork_exit *exit, void *data)
{
    struct command *command = data;

    command->ended = true;
    command->status = exit->wait_status >= 0 && WIFEXITED(exit->wait_status) ? exit->status : 125;
    if (exit->cause != AFORK_CAUSE_EXITED)
        fprintf(stderr, "%s\n", exit->message);
    quit_when_done(command);
}

int main(int argc, char **argv)
{
    struct command command = {.fd = -1};
    struct afork_context *context;
    struct afork_process *process;

    if (argc < 3) {
        fprintf(stderr, "usage: fork-exec OUTPUT COMMAND [ARGUMENT...]\n");
        return 2;
    }
    int output = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (output < 0)
        fail(argv[1], -errno);
    int error;
    if ((error = afork_poll_new(&command.loop)) < 0 ||
        (error = afork_context_new(afork_poll_loop(command.loop), NULL, &context)) < 0 ||
        (error = afork_process_new(context, &process)) < 0)
        fail("starting perl", error);

    afork_process_require(process, "POSIX", NULL);
    afork_process_eval(process, code, NULL);
    afork_process_send_fd(process, output);
    close(output);
    for (int i = 2; i < argc; i++)
        afork_process_send_arg(process, argv[i], strlen(argv[i]));
    afork_process_on_exit(process, on_exit_notice, &command);
    afork_process_run(process, "execute", on_entered, &command);
    afork_process_unref(process);

    afork_poll_run(command.loop);
    afork_context_close(context);
    afork_poll_free(command.loop);
    return command.status;
}
