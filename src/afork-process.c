/* SPDX-License-Identifier: MIT
 *
 * The public calls on processes. Each checks what it was given, puts commands into the queue and
 * sends what the socket takes at once; all that comes back arrives through the loop.
 */
#include "config.h"

#include "afork-process.h"

#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "spawn.h"
#include "util.h"

/* Whether the process may be told anything. */
static int check_process(const struct afork_process *process)
{
    if (!process)
        return -EINVAL;
    int result = afork__context_check(process->context);
    if (result < 0)
        return result;
    return process->closed ? -ESHUTDOWN : 0;
}

int afork__process_check_server(const struct afork_process *process)
{
    int result = check_process(process);
    if (result < 0)
        return result;
    if (process->run != AFORK__RUN_NONE)
        return -EINVAL;
    /* One that is broken takes them to no effect: its end, which is yet to be told, says why. */
    bool lost = process->ended || (process->fd < 0 && !process->remote) || process->hung_up;
    return lost ? -ESRCH : 0;
}

int afork__process_queued(struct afork_process *process, int result)
{
    if (result < 0)
        return result;
    afork__spares_renew(process);
    afork__process_send(process, AFORK__SHARE_OCTETS);
    return 0;
}

int afork__process_command(struct afork_process *process, enum afork__command command,
                           const void *payload, size_t len)
{
    int result = afork__process_check_server(process);

    if (result < 0)
        return result;
    return afork__process_queued(process,
                                 afork__queue_command(&process->queue, command, payload, len));
}

int afork_process_new(struct afork_context *context, struct afork_process **ret)
{
    struct afork_process *template;
    int result = ret ? afork__context_check(context) : -EINVAL;

    if (!result)
        result = afork__context_template(context, &template);
    if (!result)
        result = afork_process_fork(template, ret);
    return result;
}

int afork_process_new_exec(struct afork_context *context, struct afork_process **ret)
{
    int result = ret ? afork__context_check(context) : -EINVAL;

    return result < 0 ? result : afork__process_new_root(context, &context->launcher, ret);
}

int afork__process_fork(struct afork_process *process, unsigned flags, struct afork_process **ret)
{
    struct afork_process *child;
    AFORK__AUTO_FD far_fd = -1, error_fd = -1;
    int result = afork__process_check_server(process);

    if (!result)
        result = afork__process_make(process->context, process, &child, &far_fd, &error_fd);
    if (result < 0)
        return result;
    child->unused = flags & AFORK__FORK_SPARE;
    result = afork__queue_fork(&process->queue, far_fd, error_fd, child->identity, flags);
    if (result < 0) {
        afork__close(&error_fd);
        afork__process_abandon(child);
        afork_process_unref(child);
        return result;
    }
    afork__steal_fd(&far_fd);
    afork__steal_fd(&error_fd);
    *ret = child;
    afork__process_send(process, AFORK__SHARE_OCTETS);
    return 0;
}

int afork_process_fork(struct afork_process *process, struct afork_process **ret)
{
    int result = ret ? afork__process_check_server(process) : -EINVAL;

    if (result < 0)
        return result;
    if (process->remote)
        return afork__remote_fork(process, ret);
    struct afork_process *spare = afork__spares_take(process);
    if (!spare)
        return afork__process_fork(process, 0, ret);
    *ret = spare;
    return 0;
}

int afork_process_set_spares(struct afork_process *process, unsigned n)
{
    int result = afork__process_check_server(process);

    if (!result && process->peer == AFORK_PEER_ORIGINAL)
        result = -ENOTSUP;
    return result < 0 ? result : afork__spares_set(process, n);
}

int afork_process_get_spare_stats(struct afork_process *process, struct afork_spare_stats *ret)
{
    int result = ret ? check_process(process) : -EINVAL;

    if (result < 0)
        return result;
    *ret = (struct afork_spare_stats){0};
    afork__spares_count(process, ret);
    return 0;
}

/* The strings of a variable argument list after `first`, up to NULL; the caller frees the
 * vector. */
static struct iovec *collect_strings(const char *first, va_list *arguments, size_t *n)
{
    va_list again;
    size_t count = 1;

    va_copy(again, *arguments);
    while (va_arg(again, const char *))
        count++;
    va_end(again);
    struct iovec *strings = calloc(count, sizeof *strings);
    if (!strings)
        return NULL;
    const char *string = first;
    for (size_t i = 0; i < count; i++, string = va_arg(*arguments, const char *))
        strings[i] = (struct iovec){.iov_base = (char *)string, .iov_len = strlen(string)};
    *n = count;
    return strings;
}

static void free_strings(struct iovec **strings)
{
    free(*strings);
}

#define AUTO_STRINGS AFORK__CLEANUP(free_strings) struct iovec *

int afork_process_eval(struct afork_process *process, const char *code, ...)
{
    va_list arguments;
    size_t n;

    if (!code)
        return -EINVAL;
    va_start(arguments, code);
    AUTO_STRINGS strings = collect_strings(code, &arguments, &n);
    va_end(arguments);
    return strings ? afork_process_eval_iov(process, strings, n) : -ENOMEM;
}

int afork_process_eval_iov(struct afork_process *process, const struct iovec *strings, size_t n)
{
    int result = strings && n ? afork__process_check_server(process) : -EINVAL;

    if (result < 0)
        return result;
    return afork__process_queued(process,
                                 afork__queue_strings(&process->queue, AFORK__EVAL, strings, n));
}

/* Whether `name` is of the form Some::Module; perl looks for Some/Module.pm, so that nothing
 * else may reach it. */
static bool is_module_name(const char *name)
{
    bool start = true;

    for (const char *c = name; *c; c++) {
        bool digit = *c >= '0' && *c <= '9';
        bool letter = (*c >= 'A' && *c <= 'Z') || (*c >= 'a' && *c <= 'z') || *c == '_';
        if (letter || (digit && !(start && c == name))) {
            start = false;
        } else if (*c == ':' && c[1] == ':' && !start) {
            start = true;
            c++;
        } else {
            return false;
        }
    }
    return !start;
}

/* Turns the module names in `strings` into what AFORK__REQUIRE_CODE wants, one after the other in
 * one block, which is returned; the strings point into it. */
static char *module_paths(struct iovec *strings, size_t n)
{
    size_t total = 0;

    for (size_t i = 0; i < n; i++)
        total += strings[i].iov_len + 1;
    char *block = malloc(total), *to = block;
    if (!block)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        char *start = to;
        for (const char *c = strings[i].iov_base; *c; c++) {
            *to++ = *c == ':' ? '/' : *c;
            if (*c == ':')
                c++;
        }
        strings[i] = (struct iovec){.iov_base = start, .iov_len = (size_t)(to - start)};
    }
    return block;
}

/* `strings`: room for the code, then the module names. */
static int require_strings(struct afork_process *process, struct iovec *strings, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (!is_module_name(strings[i].iov_base))
            return -EINVAL;
    char *block = module_paths(strings + 1, n - 1);
    if (!block)
        return -ENOMEM;
    strings[0] = (struct iovec){.iov_base = (char *)AFORK__REQUIRE_CODE,
                                .iov_len = sizeof AFORK__REQUIRE_CODE - 1};
    int result = afork_process_eval_iov(process, strings, n);
    free(block);
    return result;
}

int afork_process_require(struct afork_process *process, const char *module, ...)
{
    va_list arguments;
    size_t n;

    if (!module)
        return -EINVAL;
    va_start(arguments, module);
    AUTO_STRINGS modules = collect_strings(module, &arguments, &n);
    va_end(arguments);
    AUTO_STRINGS strings = calloc(n + 1, sizeof *strings);
    if (!modules || !strings)
        return -ENOMEM;
    memcpy(strings + 1, modules, n * sizeof *modules);
    return require_strings(process, strings, n + 1);
}

int afork_process_require_list(struct afork_process *process, const char *const *modules)
{
    size_t n = 0;

    if (!modules)
        return -EINVAL;
    while (modules[n])
        n++;
    AUTO_STRINGS strings = calloc(n + 1, sizeof *strings);
    if (!strings)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        strings[i + 1] = (struct iovec){.iov_base = (char *)modules[i],
                                        .iov_len = strlen(modules[i])};
    return require_strings(process, strings, n + 1);
}

int afork_process_send_fd(struct afork_process *process, int fd)
{
    int result = afork__process_check_server(process);

    if (!result && process->remote)
        result = -ENOTSUP;
    if (result < 0)
        return result;
    AFORK__AUTO_FD copy = afork__duplicate(fd);
    if (copy < 0)
        return copy;
    result = afork__queue_handle(&process->queue, copy);
    if (!result)
        afork__steal_fd(&copy);
    return afork__process_queued(process, result);
}

int afork_process_send_arg(struct afork_process *process, const void *data, size_t len)
{
    struct iovec string = {.iov_base = (void *)data, .iov_len = len};
    int result = data || !len ? afork__process_check_server(process) : -EINVAL;

    if (result < 0)
        return result;
    return afork__process_queued(process,
                                 afork__queue_strings(&process->queue, AFORK__ARGS, &string, 1));
}

int afork_process_send_arg_take(struct afork_process *process, void *data, size_t len,
                                void (*release)(void *data))
{
    int result = data && release ? afork__process_check_server(process) : -EINVAL;

    if (result < 0)
        return result;
    return afork__process_queued(process, afork__queue_take(&process->queue, data, len, release));
}

void afork__process_leaves(struct afork_process *process, afork_run_cb *cb, void *data,
                           void (*release)(void *data))
{
    process->run = AFORK__RUN_QUEUED;
    process->run_cb = cb;
    process->run_data = data;
    process->run_release = release;
    afork__spares_stop(process);
    afork__process_update_busy(process);
    afork__process_send(process, AFORK__SHARE_OCTETS);
}

static int run(struct afork_process *process, const char *function, afork_run_cb *cb, void *data,
               void (*release)(void *data))
{
    int result = function && *function ? afork__process_check_server(process) : -EINVAL;

    if (result < 0)
        return result;
    char *name = strdup(function);
    if (!name)
        return -ENOMEM;
    result = afork__spares_give_up(process);
    if (!result && process->remote)
        result = afork__remote_run(process, function);
    else if (!result)
        result = afork__queue_command(&process->queue, AFORK__RUN, function, strlen(function));
    if (result < 0) {
        afork__spares_renew(process); /* they may have been given up */
        free(name);
        return result;
    }
    process->function = name;
    afork__process_leaves(process, cb, data, release);
    return 0;
}

int afork_process_run(struct afork_process *process, const char *function, afork_run_cb *cb,
                      void *data)
{
    return run(process, function, cb, data, NULL);
}

int afork_process_run_full(struct afork_process *process, const char *function, afork_run_cb *cb,
                           void *data, void (*release)(void *data))
{
    return cb ? run(process, function, cb, data, release) : -EINVAL;
}

int afork_process_on_exit(struct afork_process *process, afork_exit_cb *cb, void *data)
{
    int result = check_process(process);

    if (result < 0)
        return result;
    process->exit_cb = cb;
    process->exit_data = data;
    afork__process_update_busy(process);
    if (process->ended)
        afork__notice(process);
    return 0;
}

struct afork_loop *afork_process_get_loop(struct afork_process *process)
{
    if (!process || afork__context_check(process->context) < 0)
        return NULL;
    return process->context->loop;
}

pid_t afork_process_pid(struct afork_process *process)
{
    return process && afork__process_is_child(process) ? afork_process_peer_pid(process) : 0;
}

pid_t afork_process_peer_pid(struct afork_process *process)
{
    if (!process || process->ended || afork__context_is_copy(process->context))
        return 0;
    return process->pid;
}

/* Signals an unrelated process by pid: a descriptor on whatever has the pid now; only if nobody has
 * reported the end of ours by then, it is ours, since reaping comes after the report. */
static int signal_by_pid(struct afork_process *process, int signal)
{
    AFORK__AUTO_FD pidfd = afork__pidfd_open(process->pid);

    if (pidfd == -ESRCH)
        return pidfd;
    afork__monitor_drain(process->context);
    afork__notice_set_timer(process->context); /* for what others are to be told */
    if (process->ended)
        return -ESRCH;
    if (pidfd >= 0)
        return afork__pidfd_signal(pidfd, signal);
    return kill(process->pid, signal) < 0 ? -errno : 0;
}

int afork_process_kill(struct afork_process *process, int signal)
{
    int result = check_process(process);

    if (result < 0)
        return result;
    if (signal < 0 || signal >= NSIG)
        return -EINVAL;
    if (process->ended)
        return -ESRCH;
    if (signal)
        afork__log(process->context, SPAWN, "signal %d to " AFORK__LOG_NAME, signal,
                   AFORK__LOG_NAME_OF(process));
    if (process->pidfd >= 0)
        return afork__pidfd_signal(process->pidfd, signal);
    if (process->pid)
        return signal_by_pid(process, signal);
    if (process->peer == AFORK_PEER_ORIGINAL)
        return -ENOTSUP;
    if (signal)
        process->pending_signals |= UINT64_C(1) << (signal - 1);
    afork__process_update_busy(process);
    return 0;
}

struct afork_process *afork_process_ref(struct afork_process *process)
{
    if (process) {
        process->user_refs++;
        afork__process_ref_memory(process);
    }
    return process;
}

void afork_process_unref(struct afork_process *process)
{
    if (!process)
        return;
    if (!--process->user_refs)
        afork__process_release(process);
    afork__process_unref_memory(process);
}

void afork_process_close(struct afork_process *process)
{
    if (!process || process->closed)
        return;
    process->closed = true;
    process->run_cb = NULL;
    process->exit_cb = NULL;
    afork__spares_stop(process);
    afork__queue_clear(&process->queue);
    if (process->remote)
        afork__remote_close(process);
    if (!afork__process_is_child(process) || process->pid || process->fd < 0)
        afork__process_forget_socket(process);
    else
        afork__process_hang_up(process);
    if (process->peer == AFORK_PEER_ORIGINAL ? !afork__process_is_child(process)
                                             : process->adopted && !process->pid)
        /* nobody would tell */
        afork__process_ended(process, -1, NULL);
    afork__process_update_busy(process);
    afork__process_drop_run(process); /* which may release the handle */
}
