/* SPDX-License-Identifier: MIT
 *
 * Contexts: the options, the start of a perl, the default template, and the end of everything.
 * Knows nothing of how a process lives in between.
 */
#include "config.h"

#include "afork-context.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "copy.h"
#include "internal.h"
#include "spawn.h"
#include "util.h"

extern char **environ;

/* Default templates that keep ending are executed again after a while that doubles up to a
 * limit. One that lived long enough had no part in that. */
enum { BACK_OFF_USEC = 100000, BACK_OFF_MAX_USEC = 10000000, LIVED_USEC = 10000000 };

/* Records of 64 octets are charged with about 768: room for some thousand exits at once. */
enum { STATUS_BUFFER = 4 << 20 };

static void list_free(char **list)
{
    for (size_t i = 0; list && list[i]; i++)
        free(list[i]);
    free(list);
}

static int list_copy(const char *const *list, char ***ret)
{
    size_t n = 0;

    if (!list)
        return 0;
    while (list[n])
        n++;
    char **copy = calloc(n + 1, sizeof *copy);
    if (!copy)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        copy[i] = strdup(list[i]);
        if (!copy[i]) {
            list_free(copy);
            return -ENOMEM;
        }
    }
    *ret = copy;
    return 0;
}

static int string_copy(const char *string, char **ret)
{
    char *copy = string ? strdup(string) : NULL;

    if (string && !copy)
        return -ENOMEM;
    free(*ret);
    *ret = copy;
    return 0;
}

static bool are_variables(const char *const *list, bool may_drop)
{
    for (; list && *list; list++)
        if (!**list || **list == '=' || (!may_drop && !strchr(*list, '=')))
            return false;
    return true;
}

static int check_options(const struct afork_context_options *options)
{
    const struct afork_stdio *stdio[] = {&options->standard_input, &options->standard_output,
                                         &options->standard_error};

    if (options->size < sizeof *options ||
        (options->peer != AFORK_PEER_OWN && options->peer != AFORK_PEER_ORIGINAL) ||
        (options->serve_module && options->peer != AFORK_PEER_ORIGINAL) ||
        (options->spares && options->peer != AFORK_PEER_OWN) ||
        (options->threads != AFORK_THREADS_WARN && options->threads != AFORK_THREADS_REFUSE) ||
        !are_variables(options->environment, false) ||
        !are_variables(options->environment_changes, true))
        return -EINVAL;
    for (size_t i = 0; i < 3; i++) {
        enum afork_stdio_mode last = i == STDERR_FILENO ? AFORK_STDIO_TAIL : AFORK_STDIO_FD;
        if (stdio[i]->mode < AFORK_STDIO_DEFAULT || stdio[i]->mode > last)
            return -EINVAL;
        if (stdio[i]->mode == AFORK_STDIO_FD && fcntl(stdio[i]->fd, F_GETFD) < 0)
            return -EBADF;
    }
    return 0;
}

static int copy_stdio(struct afork_stdio *to, const struct afork_stdio *from)
{
    if (from->mode == AFORK_STDIO_FD) {
        int fd = afork__duplicate(from->fd);
        if (fd < 0)
            return fd;
        to->fd = fd;
    }
    to->mode = from->mode;
    return 0;
}

static int copy_options(struct afork_context *context, const struct afork_context_options *options)
{
    int result = string_copy(options->perl, &context->perl);
    if (!result)
        result = string_copy(options->serve_module, &context->serve_module);
    if (!result)
        result = string_copy(options->working_directory, &context->directory);
    if (!result)
        result = list_copy(options->include_dirs, &context->include_dirs);
    if (!result)
        result = list_copy(options->environment, &context->environment);
    if (!result)
        result = list_copy(options->environment_changes, &context->environment_changes);
    if (!result)
        result = copy_stdio(&context->stdio[0], &options->standard_input);
    if (!result)
        result = copy_stdio(&context->stdio[1], &options->standard_output);
    if (!result)
        result = copy_stdio(&context->stdio[2], &options->standard_error);
    context->peer = options->peer;
    context->new_session = options->new_session;
    context->threads = options->threads;
    context->n_spares = options->spares;
    context->on_warning = options->on_warning;
    context->warning_data = options->warning_data;
    return result;
}

static void context_free(struct afork_context *context)
{
    free(context->perl);
    free(context->serve_module);
    free(context->directory);
    free(context->found_perl);
    free(context->last_error);
    list_free(context->include_dirs);
    list_free(context->environment);
    list_free(context->environment_changes);
    for (size_t i = 0; i < 3; i++)
        if (context->stdio[i].mode == AFORK_STDIO_FD)
            afork__close(&context->stdio[i].fd);
    afork__close(&context->status_fd);
    afork__close(&context->status_far_fd);
    free(context->receive_buffer);
    free(context);
}

struct afork_context *afork__context_ref(struct afork_context *context)
{
    context->refs++;
    return context;
}

void afork__context_unref(struct afork_context *context)
{
    if (!--context->refs)
        context_free(context);
}

bool afork__context_is_copy(const struct afork_context *context)
{
    return context->copy != afork__copy_number();
}

bool afork__context_is_over(const struct afork_context *context)
{
    return context->closed || afork__context_is_copy(context);
}

int afork__context_check(const struct afork_context *context)
{
    if (!context)
        return -EINVAL;
    if (afork__context_is_copy(context))
        return -ECHILD;
    return context->closed ? -ESHUTDOWN : 0;
}

static bool loop_is_complete(const struct afork_loop *loop)
{
    return loop && loop->ops && loop->ops->size >= sizeof(struct afork_loop_ops);
}

static int open_status(struct afork_context *context)
{
    const int size = STATUS_BUFFER;
    int pair[2];
    int result = afork__socketpair(SOCK_SEQPACKET, pair);

    if (result < 0)
        return result;
    context->status_fd = pair[0];
    context->status_far_fd = pair[1];
    setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size); /* as much as is allowed */
    return context->loop->ops->io_new(context->loop, context->status_fd,
                                      AFORK_IN | AFORK_BACKGROUND, afork__monitor_status_cb,
                                      context, &context->status_io);
}

int afork_context_new(struct afork_loop *loop, const struct afork_context_options *options,
                      struct afork_context **ret)
{
    static const struct afork_context_options defaults = AFORK_CONTEXT_OPTIONS_INIT;

    if (!options)
        options = &defaults;
    if (!loop_is_complete(loop) || !ret)
        return -EINVAL;
    int result = check_options(options);
    if (result < 0)
        return result;

    afork__launched_reap();
    struct afork_context *context = calloc(1, sizeof *context);
    if (!context)
        return -ENOMEM;
    context->refs = 1;
    context->copy = afork__copy_number();
    afork__log_init(&context->log);
    context->loop = loop;
    context->status_fd = context->status_far_fd = -1;
    context->lifeline[0] = context->lifeline[1] = -1;
    TAILQ_INIT(&context->processes);
    TAILQ_INIT(&context->notices);
    STAILQ_INIT(&context->warnings);
    LIST_INIT(&context->tails);
    LIST_INIT(&context->attachments);
    TAILQ_INIT(&context->turns);
    context->deadlines.fd = -1;
    LIST_INIT(&context->spares);
    LIST_INIT(&context->left_children);
    LIST_INIT(&context->untold);

    result = copy_options(context, options);
    if (!result)
        result = loop->ops->timer_new(loop, afork__notice_timer_cb, context, &context->timer);
    if (!result)
        result = open_status(context);
    if (result < 0) {
        loop->ops->timer_free(context->timer);
        afork__context_unref(context);
        return result;
    }
    *ret = context;
    return 0;
}

/* In a forked copy of the host, the sockets and the loop's watchers are shared with the original:
 * nothing may be told to either. */
static void abandon_copy(struct afork_context *context)
{
    struct afork_process *process;

    context->status_io = NULL;
    context->timer = NULL;
    TAILQ_FOREACH (process, &context->processes, link) {
        afork__close(&process->fd);
        afork__close(&process->pidfd);
        process->io = process->pidfd_io = NULL;
        if (process->remote)
            afork__remote_stop(process);
        afork__queue_clear(&process->queue);
    }
}

/* Nothing watches the host's child any more: it is reaped now, or later by the way. */
static void leave_child(struct afork_process *process)
{
    struct rusage usage;
    int status;

    if (!afork__process_is_child(process) || process->ended || !process->pid ||
        afork__context_is_copy(process->context))
        return;
    if (!afork__reap(process->pid, process->pidfd, &status, &usage))
        afork__leave_to_reap(process->pid);
}

/* The default template ends, once what was asked for is there. */
void afork__context_drop_template(struct afork_context *context)
{
    struct afork_process *old = context->template;

    if (!old)
        return;
    /* Else it is the host who ends it. */
    old->is_default = old->broken || old->exit.cause != AFORK_CAUSE_UNKNOWN;
    context->template = NULL;
    afork_process_unref(old);
}

void afork__context_lost_template(struct afork_context *context,
                                  const struct afork_process *template)
{
    static const char format[] = "the default template has ended (%s); the next process that needs "
                                 "it starts another";
    int64_t now = afork__now(), back_off = 0;
    char text[1024];

    if (now - template->made_at > LIVED_USEC)
        context->templates_lost = 0;
    if (context->templates_lost)
        back_off = (int64_t)BACK_OFF_USEC << (context->templates_lost - 1);
    if (back_off < BACK_OFF_MAX_USEC)
        context->templates_lost++;
    else
        back_off = BACK_OFF_MAX_USEC;
    context->retry_at = now + back_off;
    int length = snprintf(text, sizeof text, format, template->exit.message);
    afork__notice_warning(context, NULL, text,
                          (size_t)length < sizeof text ? (size_t)length : sizeof text - 1);
}

void afork_context_close(struct afork_context *context)
{
    struct afork__attachment *attachment;
    struct afork_process *process;

    if (!context || context->closed)
        return;
    if (!afork__context_is_copy(context))
        afork__monitor_drain(context); /* a pid that is told now need not be looked for later */
    if (!afork__context_is_copy(context))
        LIST_FOREACH (attachment, &context->attachments, link)
            if (attachment->leave)
                attachment->leave(attachment);
    context->closed = true;
    if (afork__context_is_copy(context))
        abandon_copy(context);
    while ((attachment = LIST_FIRST(&context->attachments)))
        attachment->close(attachment);
    afork__deadlines_close(context);
    afork__context_drop_template(context);
    while ((process = TAILQ_FIRST(&context->processes))) {
        afork__process_ref_memory(process);
        afork_process_close(process);
        leave_child(process);
        afork__process_abandon(process);
        afork__process_unref_memory(process);
    }
    afork__notice_clear(context);
    afork__tail_close_all(context);
    afork__handover_close_all(context);
    context->loop->ops->io_free(context->status_io);
    context->loop->ops->timer_free(context->timer);
    context->status_io = NULL;
    context->timer = NULL;
    afork__lifeline_close(context);
    afork__monitor_close(context);
    afork__launched_reap();
    afork__close(&context->status_fd);
    afork__close(&context->status_far_fd);
    afork__context_unref(context);
}

static const char *default_perl(const struct afork_context *context)
{
    const char *perl = secure_getenv("AFORK_PERL");

    if (perl && *perl)
        return perl;
    return context->peer == AFORK_PEER_OWN ? AFORK_PERL_PATH : AFORK_FOREIGN_PERL;
}

const char *afork__context_perl(const struct afork_context *context)
{
    return context->perl ? context->perl : default_perl(context);
}

const char *afork_context_get_perl(struct afork_context *context)
{
    if (afork__context_check(context) < 0)
        return NULL;
    /* A copy, since the environment may change while the caller still reads it. */
    const char *perl = afork__context_perl(context);
    if (!context->found_perl || strcmp(perl, context->found_perl) != 0)
        if (string_copy(perl, &context->found_perl) < 0)
            return NULL;
    return context->found_perl;
}

int afork_context_set_perl(struct afork_context *context, const char *perl, enum afork_peer peer,
                           const char *serve_module)
{
    char *perl_copy = NULL, *module_copy = NULL;
    int result = afork__context_check(context);

    if (result < 0)
        return result;
    if ((peer != AFORK_PEER_OWN && peer != AFORK_PEER_ORIGINAL) ||
        (serve_module && peer != AFORK_PEER_ORIGINAL))
        return -EINVAL;
    if (string_copy(perl, &perl_copy) < 0 || string_copy(serve_module, &module_copy) < 0) {
        free(perl_copy);
        return -ENOMEM;
    }
    free(context->perl);
    free(context->serve_module);
    context->perl = perl_copy;
    context->serve_module = module_copy;
    context->peer = peer;
    context->launcher = (struct afork__launcher){0};
    context->templates_lost = 0;
    context->retry_at = 0;
    afork__context_drop_template(context);
    return 0;
}

int afork_context_get_spare_stats(struct afork_context *context, struct afork_spare_stats *ret)
{
    int result = ret ? afork__context_check(context) : -EINVAL;

    if (result < 0)
        return result;
    *ret = context->spare_stats;
    ret->ready = 0;
    if (context->template)
        afork__spares_count(context->template, ret);
    return 0;
}

/* Arguments of a server, with room for the strings that had to be made. */
struct arguments {
    char **argv;
    char module[256], entry[256], command_fd[16], owner[16], status_fd[16], identity[24];
};

static void free_argv(struct arguments *arguments)
{
    free(arguments->argv);
}

static int make_arguments(struct afork_context *context, const char *perl, uint64_t identity,
                          struct arguments *arguments)
{
    bool own = context->peer == AFORK_PEER_OWN;
    const char *module = context->serve_module ? context->serve_module : "AFork::Serve";
    size_t n_dirs = 0, n = 0;

    while (context->include_dirs && context->include_dirs[n_dirs])
        n_dirs++;
    arguments->argv = calloc(2 * n_dirs + 16, sizeof(char *));
    if (!arguments->argv)
        return -ENOMEM;
    int length = snprintf(arguments->entry, sizeof arguments->entry, "%s::me", module);
    if (length < 0 || (size_t)length >= sizeof arguments->entry)
        return -EINVAL;
    snprintf(arguments->module, sizeof arguments->module, "-M%s", module);
    snprintf(arguments->command_fd, sizeof arguments->command_fd, "%d", AFORK__COMMAND_FD);
    snprintf(arguments->owner, sizeof arguments->owner, "%ld", (long)getpid());
    snprintf(arguments->status_fd, sizeof arguments->status_fd, "%d", AFORK__STATUS_FD);
    snprintf(arguments->identity, sizeof arguments->identity, "%llu", (unsigned long long)identity);

    char **argv = arguments->argv;
    argv[n++] = (char *)perl;
    for (size_t i = 0; i < n_dirs; i++) {
        argv[n++] = (char *)"-I";
        argv[n++] = context->include_dirs[i];
    }
    if (!own && !context->serve_module) {
        argv[n++] = (char *)"-I";
        argv[n++] = (char *)AFORK_PERL_LIBDIR;
    }
    if (!own) /* ours has the module inside: asking for it would only cost time */
        argv[n++] = arguments->module;
    argv[n++] = (char *)"-e";
    argv[n++] = arguments->entry;
    argv[n++] = arguments->command_fd;
    argv[n++] = arguments->owner;
    if (own) {
        argv[n++] = arguments->status_fd;
        argv[n++] = arguments->identity;
        argv[n++] = (char *)(context->threads == AFORK_THREADS_REFUSE ? "refuse-threads" : "");
    }
    return 0;
}

static int stdio_fd(const struct afork_stdio *stdio, int number)
{
    switch (stdio->mode) {
    case AFORK_STDIO_FD:
        return stdio->fd;
    case AFORK_STDIO_NULL:
    case AFORK_STDIO_TAIL:
        return -1;
    case AFORK_STDIO_DEFAULT:
        if (number == STDIN_FILENO)
            return -1;
        break;
    case AFORK_STDIO_INHERIT:
        break;
    }
    return fcntl(number, F_GETFD) < 0 ? -1 : number;
}

void afork__context_stdio(const struct afork_context *context, int error_fd, int ret[3])
{
    for (int i = 0; i < 3; i++)
        ret[i] = stdio_fd(&context->stdio[i], i);
    if (error_fd >= 0)
        ret[STDERR_FILENO] = error_fd;
}

static bool is_set(char *const *environment, const char *prefix)
{
    for (; *environment; environment++)
        if (!strncmp(*environment, prefix, strlen(prefix)))
            return true;
    return false;
}

/* Everything is passed on. But the debugger that PERL5OPT may ask for would stop the server at
 * its first statement, and wait at the terminal of the host. */
char **afork__context_environment(const struct afork_context *context)
{
    static char no_stop[] = "PERLDB_OPTS=NonStop=1";
    char *const more[] = {no_stop, NULL};
    char **environment = afork__environment(context->environment ? context->environment : environ,
                                            context->environment_changes);

    if (!environment || !is_set(environment, "PERL5OPT=") || is_set(environment, "PERLDB_OPTS="))
        return environment;
    char **extended = afork__environment(environment, more);
    free(environment);
    return extended;
}

static void free_block(char ***block)
{
    free(*block);
}

pid_t afork__context_start(struct afork_context *context, int command_fd, int error_fd,
                           uint64_t identity)
{
    const char *perl = afork__context_perl(context);
    AFORK__CLEANUP(free_argv) struct arguments arguments = {0};
    AFORK__CLEANUP(free_block) char **environment = afork__context_environment(context);

    if (!environment)
        return -ENOMEM;
    int result = make_arguments(context, perl, identity, &arguments);
    if (result < 0)
        return result;
    struct afork__spawn spawn = {
        .path = perl,
        .argv = arguments.argv,
        .environment = environment,
        .directory = context->directory,
        .command_fd = command_fd,
        .status_fd = context->peer == AFORK_PEER_OWN ? context->status_far_fd : -1,
        .new_session = context->new_session,
    };
    afork__context_stdio(context, error_fd, spawn.stdio);
    return afork__spawn(&spawn);
}

int afork__context_template(struct afork_context *context, struct afork_process **ret)
{
    struct afork_process *old = context->template;

    if (old && !old->ended && !old->broken && old->fd >= 0) {
        *ret = old;
        return 0;
    }
    afork__context_drop_template(context);
    if (afork__now() < context->retry_at)
        return -EAGAIN;
    int result = afork_process_new_exec(context, &context->template);
    if (result < 0)
        return result;
    context->template->is_default = true;
    if (context->n_spares && context->peer == AFORK_PEER_OWN)
        afork__spares_set(context->template, context->n_spares);
    *ret = context->template;
    return 0;
}
