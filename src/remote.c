/* SPDX-License-Identifier: MIT
 *
 * Remote processes: the record, which is copied and run. The start of the perl behind a command is
 * in remote-start.c, what goes over the socket meanwhile in remote-io.c. From the moment on when
 * the function is entered, a remote process is any worker.
 */
#include "config.h"

#include "remote.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "afork-remote.h"
#include "deadline.h"
#include "internal.h"
#include "remote-start.h"

enum { START_TIMEOUT_USEC = 30000000, NOISE_MAX = 65536 };

static void command_unref(struct afork__remote_command *command)
{
    if (--command->refs)
        return;
    if (command->connect_release)
        command->connect_release(command->connect_data);
    free(command->argv);
    free(command->words);
    free(command);
}

static int copy_argv(struct afork__remote_command *command, const char *const *argv)
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

static int command_new(const struct afork_remote_options *options,
                       struct afork__remote_command **ret)
{
    struct afork__remote_command *command = calloc(1, sizeof *command);

    if (!command)
        return -ENOMEM;
    *command = (struct afork__remote_command){
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

static int process_new(struct afork_context *context, struct afork__remote_command *command,
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
    struct afork__remote_command *command = NULL;
    int result = ret && are_valid(options) ? afork__context_check(context) : -EINVAL;

    if (!result)
        result = afork__deadlines_prepare(context);
    if (!result)
        result = command_new(options, &command);
    if (result < 0)
        return result;
    result = process_new(context, command, ret);
    if (!result)
        command->connect_release = options->connect_release;
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
