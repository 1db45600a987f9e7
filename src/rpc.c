/* SPDX-License-Identifier: MIT
 *
 * Remote procedure calls: the life of an rpc, and its public calls. What flows through the channel
 * is in rpc-io.c.
 *
 * Nothing is told before it is complete: how the worker ended, which the notice of its end says,
 * and all that it wrote before.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rpc-module.h"
#include "rpc.h"
#include "util.h"

/* How long the notice of the end is waited for once the channel has ended: the worker may have
 * closed it and live on. */
enum { END_USEC = 1000000 };

/* How long it usually takes at most: calls that the worker has not begun do not wait longer. */
enum { LINGER_USEC = 20000 };

/* ---- Making ---- */

static bool are_good(const struct afork_rpc_options *options)
{
    return options->size >= sizeof *options && (options->frames == AFORK_RPC_FRAMES_OWN ||
                                                options->frames == AFORK_RPC_FRAMES_ORIGINAL);
}

/* Names of a back end: its module, and its function. */
static void name_back_end(const struct afork_rpc_options *options, char module[static 64])
{
    snprintf(module, 64, "%s::%s",
             options->frames == AFORK_RPC_FRAMES_OWN ? "AFork::RPC" : "AnyEvent::Fork::RPC",
             options->async ? "Async" : "Sync");
}

/* Versions of the original before 2 take four parameters without names. */
static const char old_parameters[] =
    "no strict; no warnings; my @values = @arg[-10, -8, -6, -4];"
    " splice @arg, -11, 11, @values unless \"$_[0]\"->VERSION >= 2";

/* Perls that have no back end of ours are sent one. An original that is loaded there already stays,
 * for its frames. */
static int load_back_end(struct afork_process *template, const char *module)
{
    if (template->peer == AFORK_PEER_OWN)
        return afork_process_require(template, module, (char *)NULL);
    return afork_process_eval(template, afork__rpc_module, NULL);
}

enum { N_PARAMETERS = 5 };

/* Names and values of what the back end is told. */
static int send_parameters(struct afork_process *process, const char *const parameters[])
{
    int result = 0;

    for (size_t i = 0; !result && i < 2 * N_PARAMETERS; i++)
        result = afork_process_send_arg(process, parameters[i], strlen(parameters[i]));
    /* How many arguments are parameters of the back end, as the original says it. */
    return result < 0 ? result : afork_process_send_arg(process, "-10", 3);
}

/* Our synchronous back end is told them where it is forked from, once for all of its processes. */
static int prepare_own(struct afork_process *template, const char *const parameters[])
{
    static const char code[] = "require AFork::RPC::Sync; AFork::RPC::prepare(@_)";
    struct iovec strings[1 + 2 * N_PARAMETERS] = {
        {.iov_base = (char *)code, .iov_len = sizeof code - 1}};

    for (size_t i = 0; i < 2 * N_PARAMETERS; i++)
        strings[1 + i] = (struct iovec){.iov_base = (char *)parameters[i],
                                        .iov_len = strlen(parameters[i])};
    return afork_process_eval_iov(template, strings, 1 + 2 * N_PARAMETERS);
}

int afork__rpc_prepare(struct afork_process *template, const char *function,
                       const struct afork_rpc_options *options)
{
    char module[64], done[80];

    if (!function || !*function || !are_good(options))
        return -EINVAL;
    name_back_end(options, module);
    snprintf(done, sizeof done, "%s::do_exit", module);
    const char *const parameters[2 * N_PARAMETERS] = {
        "function",   function,
        "init",       options->init ? options->init : "",
        "serialiser", options->serialiser ? options->serialiser : AFORK_SERIALISER_OCTETS,
        "done",       options->done ? options->done : done,
        "die",        options->exceptions_end ? "1" : "",
    };
    bool own_frames = options->frames == AFORK_RPC_FRAMES_OWN;
    if (template->peer == AFORK_PEER_OWN && own_frames && !options->async)
        return prepare_own(template, parameters);
    int result = load_back_end(template, module);
    if (!result)
        result = send_parameters(template, parameters);
    if (!result && template->peer != AFORK_PEER_OWN && !own_frames)
        result = afork_process_eval(template, old_parameters, module, NULL);
    return result;
}

static void attachment_close(struct afork__attachment *attachment)
{
    afork_rpc_close(AFORK__CONTAINER(attachment, struct afork_rpc, attachment));
}

static void set_options(struct afork_rpc *rpc, const struct afork_rpc_options *options)
{
    rpc->async = options->async;
    rpc->own_frames = options->frames == AFORK_RPC_FRAMES_OWN;
    rpc->octets = !options->serialiser || !strcmp(options->serialiser, AFORK_SERIALISER_OCTETS);
    rpc->prompt = rpc->own_frames && rpc->octets && !rpc->async &&
                  !(options->init && *options->init);
    rpc->reply_max = options->reply_max ? options->reply_max : UINT32_MAX;
    rpc->on_event = options->on_event;
    rpc->on_end = options->on_end;
    rpc->data = options->data;
}

static void after_close(struct afork__turn *turn);

static struct afork_rpc *make(struct afork_process *process,
                              const struct afork_rpc_options *options)
{
    struct afork_rpc *rpc = calloc(1, sizeof *rpc);

    if (!rpc)
        return NULL;
    set_options(rpc, options);
    rpc->attachment.close = attachment_close;
    rpc->prompt &= process->peer == AFORK_PEER_OWN;
    rpc->refs = 2;
    rpc->user_refs = 1;
    rpc->context = afork__context_ref(process->context);
    rpc->process = afork_process_ref(process);
    rpc->fd = -1;
    rpc->uncork.cb = afork__rpc_uncork;
    TAILQ_INIT(&rpc->unsent);
    TAILQ_INIT(&rpc->sent);
    afork__due_init(&rpc->due, after_close);
    LIST_INSERT_HEAD(&rpc->context->attachments, &rpc->attachment, link);
    return rpc;
}

static void entered(struct afork_process *process, int fd, const struct afork_exit *failure,
                    void *data);
static void process_closed(void *data);
static void process_ended(struct afork_process *process, const struct afork_exit *exit, void *data);

int afork__rpc_run(struct afork_process *process, const struct afork_rpc_options *options,
                   const struct afork__rpc_hooks *hooks, void *data, struct afork_rpc **ret)
{
    char function[80];

    name_back_end(options, function);
    strcat(function, "::run");
    int result = afork__deadlines_prepare(process->context);
    struct afork_rpc *rpc = result < 0 ? NULL : make(process, options);
    if (!rpc)
        return result < 0 ? result : -ENOMEM;
    if (hooks) {
        rpc->hooks = hooks;
        rpc->data = data;
    }
    result = afork_process_run_full(process, function, entered, rpc, process_closed);
    if (result < 0) {
        rpc->refs = 1;
        rpc->state = AFORK__RPC_ENDED;
        LIST_REMOVE(&rpc->attachment, link);
        afork__rpc_unref_memory(rpc);
        return result;
    }
    rpc->refs++; /* the process's, until process_closed() */
    process->exit_in_background = true;
    afork_process_on_exit(process, process_ended, rpc);
    *ret = rpc;
    return 0;
}

int afork_rpc_new(struct afork_process *process, const char *function,
                  const struct afork_rpc_options *options, struct afork_rpc **ret)
{
    static const struct afork_rpc_options defaults = AFORK_RPC_OPTIONS_INIT;
    int result = process && ret ? afork__process_check_server(process) : -EINVAL;

    if (result < 0)
        return result;
    options = options ? options : &defaults;
    result = afork__rpc_prepare(process, function, options);
    return result < 0 ? result : afork__rpc_run(process, options, NULL, NULL, ret);
}

struct afork_rpc *afork_rpc_ref(struct afork_rpc *rpc)
{
    if (rpc && !rpc->user_refs++)
        rpc->refs++;
    return rpc;
}

void afork__rpc_unref_memory(struct afork_rpc *rpc)
{
    if (--rpc->refs)
        return;
    afork_process_unref(rpc->process);
    afork__context_unref(rpc->context);
    free(rpc->slots);
    free(rpc->message);
    free(rpc->exit);
    free(rpc);
}

void afork_rpc_unref(struct afork_rpc *rpc)
{
    if (!rpc || --rpc->user_refs)
        return;
    if (!rpc->closed && rpc->state != AFORK__RPC_ENDED)
        afork_rpc_finish(rpc);
    afork__rpc_unref_memory(rpc);
}

/* ---- The end ---- */

/* The channel, and what was half through it. */
static void close_socket(struct afork_rpc *rpc)
{
    if (rpc->io && !afork__context_is_copy(rpc->context))
        rpc->context->loop->ops->io_free(rpc->io);
    rpc->io = NULL;
    afork__close(&rpc->fd);
    afork__fd_queue_clear(&rpc->fds);
    afork__rpc_forget_frame(rpc);
    afork__rpc_stop_writing(rpc);
    afork__turn_clear(rpc->context, &rpc->uncork);
    afork__deadline_clear(rpc->context, &rpc->wait);
}

static void wait_expired(struct afork__deadline *deadline)
{
    afork__rpc_try_end(AFORK__CONTAINER(deadline, struct afork_rpc, wait));
}

void afork__rpc_want_exit(struct afork_rpc *rpc)
{
    rpc->process->exit_in_background = false;
    afork__process_update_busy(rpc->process);
}

static void wait_lingers(struct afork__deadline *deadline);

void afork__rpc_close_channel(struct afork_rpc *rpc, int error, const char *message, size_t len)
{
    if (rpc->state != AFORK__RPC_OPEN)
        return;
    if (error && !rpc->error) {
        rpc->error = error;
        rpc->message = message ? strndup(message, len) : NULL;
    }
    rpc->state = AFORK__RPC_CLOSED;
    close_socket(rpc);
    if (rpc->closed || rpc->exit || rpc->unreported)
        return;
    afork__rpc_want_exit(rpc);
    bool lingers = rpc->hooks && rpc->ready;
    rpc->wait.cb = lingers ? wait_lingers : wait_expired;
    afork__deadline_set(rpc->context, &rpc->wait, afork__now() + (lingers ? LINGER_USEC : END_USEC),
                        false);
    if (rpc->hooks)
        rpc->hooks->cut(rpc->data);
}

/* A copy of how the worker ended, which is told of only during a callback. */
static struct afork_exit *copy_exit(const struct afork_exit *exit)
{
    size_t message_size = strlen(exit->message) + 1;
    struct afork_exit *copy = malloc(sizeof *copy + message_size + exit->stderr_tail_len + 1);

    if (!copy)
        return NULL;
    char *strings = (char *)(copy + 1);
    *copy = *exit;
    copy->message = memcpy(strings, exit->message, message_size);
    copy->stderr_tail = memcpy(strings + message_size, exit->stderr_tail,
                               exit->stderr_tail_len + 1);
    return copy;
}

/* The process, or its context, was closed under our feet, or the callback of run has returned. */
static void process_closed(void *data)
{
    struct afork_rpc *rpc = data;

    if (rpc->state == AFORK__RPC_STARTING && !rpc->closed) {
        rpc->error = -ESHUTDOWN;
        rpc->state = AFORK__RPC_CLOSED;
        close_socket(rpc);
        afork__turn_due(rpc->context, &rpc->due.turn);
    }
    afork__rpc_unref_memory(rpc);
}

static void entered(struct afork_process *process, int fd, const struct afork_exit *failure,
                    void *data)
{
    struct afork_rpc *rpc = data;

    (void)process;
    if (rpc->closed) {
        afork__close(&fd);
        return;
    }
    int result = failure ? fd : afork__rpc_open(rpc, fd);
    if (!result) {
        if (rpc->begun && rpc->hooks && !rpc->closed)
            rpc->hooks->begun(rpc->data);
        if (rpc->ready && rpc->hooks && !rpc->closed)
            rpc->hooks->ready(rpc->data);
        return;
    }
    if (!failure)
        afork__close(&fd);
    rpc->error = result;
    rpc->message = failure ? strdup(failure->message) : NULL;
    rpc->exit = failure ? copy_exit(failure) : NULL;
    rpc->state = AFORK__RPC_CLOSED;
    close_socket(rpc);
    afork__rpc_try_end(rpc);
}

/* The socket may hold answers, and may be open none the less: somebody else has it, too. */
static void process_ended(struct afork_process *process, const struct afork_exit *exit, void *data)
{
    struct afork_rpc *rpc = data;

    if (rpc->closed || rpc->state == AFORK__RPC_ENDED)
        return;
    if (process->peer == AFORK_PEER_ORIGINAL && exit->cause == AFORK_CAUSE_UNKNOWN &&
        rpc->state == AFORK__RPC_OPEN) {
        rpc->unreported = true; /* it has just begun: of its end only the channel will tell */
        return;
    }
    free(rpc->exit);
    rpc->exit = copy_exit(exit);
    rpc->gone = true;
    if (!rpc->dispatching) /* else a callback turns the loop, and some of it was received already */
        afork__rpc_gone(rpc);
}

void afork__rpc_gone(struct afork_rpc *rpc)
{
    rpc->refs++;
    afork__rpc_drain(rpc);
    afork__rpc_close_channel(rpc, 0, NULL, 0);
    afork__deadline_clear(rpc->context, &rpc->wait);
    afork__rpc_try_end(rpc);
    afork__rpc_unref_memory(rpc);
}

static void remove_call(struct afork_rpc *rpc, struct afork_call *call)
{
    bool sent = call->state == AFORK__CALL_SENT;

    if (sent)
        TAILQ_REMOVE(&rpc->sent, call, link);
    else
        TAILQ_REMOVE(&rpc->unsent, call, link);
    if (sent && call->on_begin)
        afork__rpc_begin_left(rpc, call);
    rpc->n_calls--;
    call->rpc = NULL;
}

void afork__rpc_answer(struct afork_rpc *rpc, struct afork_call *call, struct afork_reply *reply)
{
    remove_call(rpc, call);
    call->finish(call, reply);
}

/* What is said where the worker, not the channel, is to blame. */
static void describe_end(struct afork_rpc *rpc)
{
    if (rpc->message || !rpc->exit || !*rpc->exit->message)
        return;
    static const char words[] = "the worker ended before it answered: ";
    size_t size = sizeof words + strlen(rpc->exit->message);
    rpc->message = malloc(size);
    if (rpc->message)
        snprintf(rpc->message, size, "%s%s", words, rpc->exit->message);
}

/* Whether the worker may have begun a call that it has not answered. A synchronous one has begun
 * the oldest at most, unless it keeps answers for a moment. */
static bool may_have_begun(const struct afork_rpc *rpc, const struct afork_call *call)
{
    return rpc->begun && call->state == AFORK__CALL_SENT &&
           (rpc->async || afork__rpc_may_hold(rpc) || call == afork__rpc_oldest(rpc));
}

/* What was not begun need not wait until it is known how the worker ends. */
static void wait_lingers(struct afork__deadline *deadline)
{
    struct afork_rpc *rpc = AFORK__CONTAINER(deadline, struct afork_rpc, wait);
    const struct afork_reply none = {0};
    struct afork_call *call, *next;

    rpc->wait.cb = wait_expired;
    afork__deadline_set(rpc->context, &rpc->wait, afork__now() + END_USEC, false);
    for (call = TAILQ_FIRST(&rpc->sent); call; call = next) {
        next = TAILQ_NEXT(call, link);
        if (may_have_begun(rpc, call))
            continue;
        afork__rpc_take_back(rpc, call);
        rpc->hooks->lost(call, false, &none, rpc->data);
    }
    while ((call = TAILQ_FIRST(&rpc->unsent))) {
        afork__rpc_take_back(rpc, call);
        rpc->hooks->lost(call, false, &none, rpc->data);
    }
    rpc->hooks->lingers(rpc->data);
}

/* All that the worker has not answered. */
static void lose_calls(struct afork_rpc *rpc, const struct afork_reply *reply)
{
    struct afork_call *call;

    while (!rpc->closed &&
           ((call = TAILQ_FIRST(&rpc->sent)) || (call = TAILQ_FIRST(&rpc->unsent)))) {
        bool begun = may_have_begun(rpc, call);
        remove_call(rpc, call);
        if (rpc->hooks)
            rpc->hooks->lost(call, begun, reply, rpc->data);
        else
            afork__call_fail(call, reply->error, reply->message, reply->exit);
    }
}

static void tell_end(struct afork_rpc *rpc, const struct afork_reply *reply)
{
    if (rpc->hooks)
        rpc->hooks->ended(reply->error, reply->message, reply->exit, rpc->data);
    else if (rpc->on_end)
        rpc->on_end(rpc, reply->error, reply->message, reply->exit, rpc->data);
}

/* It is not told of any more. */
static void forget_process(struct afork_rpc *rpc)
{
    struct afork_process *process = rpc->process;

    if (process->exit_cb == process_ended && process->exit_data == rpc)
        process->exit_cb = NULL;
    if (process->run_data == rpc)
        afork__process_drop_run(process);
    afork__process_update_busy(process);
}

static void leave_context(struct afork_rpc *rpc)
{
    LIST_REMOVE(&rpc->attachment, link);
    afork__turn_clear(rpc->context, &rpc->due.turn);
    afork__rpc_unref_memory(rpc);
}

void afork__rpc_try_end(struct afork_rpc *rpc)
{
    if (rpc->state != AFORK__RPC_CLOSED || rpc->closed || rpc->dispatching || rpc->wait.set)
        return;
    bool clean = rpc->finishing && !rpc->n_calls && !rpc->error;
    rpc->state = AFORK__RPC_ENDED;
    rpc->refs++;
    forget_process(rpc);
    if (!clean)
        describe_end(rpc);
    struct afork_reply reply = {.error = clean        ? 0
                                         : rpc->error ? rpc->error
                                                      : -ECONNRESET,
                                .exit = rpc->exit};
    reply.message = clean ? "" : rpc->message ? rpc->message : afork__call_words(reply.error);
    lose_calls(rpc, &reply);
    while (!rpc->closed && afork__due_next(&rpc->due)) {
    }
    if (!rpc->closed) {
        rpc->closed = true; /* nothing comes after this */
        leave_context(rpc); /* which the callback may close */
        tell_end(rpc, &reply);
    }
    afork__rpc_unref_memory(rpc);
}

/* Tells of calls that were begun, completes what was cancelled or timed out, and tells of an end
 * that came inside a call of the library. */
static void after_close(struct afork__turn *turn)
{
    struct afork_rpc *rpc = AFORK__CONTAINER(turn, struct afork_rpc, due.turn);

    rpc->refs++;
    afork__rpc_tell_begun(rpc);
    while (!rpc->closed && afork__due_next(&rpc->due)) {
    }
    afork__rpc_try_end(rpc);
    afork__rpc_unref_memory(rpc);
}

void afork_rpc_finish(struct afork_rpc *rpc)
{
    if (!rpc || rpc->finishing || rpc->closed || afork__context_check(rpc->context) < 0)
        return;
    rpc->finishing = true;
    afork__rpc_want_exit(rpc);
    afork__turn_clear(rpc->context, &rpc->uncork); /* there is nothing to wait for */
    afork__rpc_send(rpc);
}

void afork_rpc_close(struct afork_rpc *rpc)
{
    struct afork_call *call;

    if (!rpc || rpc->closed)
        return;
    rpc->closed = true;
    rpc->state = AFORK__RPC_ENDED;
    rpc->refs++;
    leave_context(rpc); /* which what is released may close */
    close_socket(rpc);
    forget_process(rpc);
    while ((call = TAILQ_FIRST(&rpc->sent)) || (call = TAILQ_FIRST(&rpc->unsent))) {
        remove_call(rpc, call);
        if (call->pool) /* which drops it when its workers are closed: drops may turn the loop */
            afork__due_add(afork__pool_due(call->pool), call, -ECANCELED);
        else
            afork__call_drop(call);
    }
    afork__due_clear(&rpc->due, rpc->context);
    afork__rpc_unref_memory(rpc);
}

/* ---- Calls ---- */

struct afork__due *afork__rpc_due(struct afork_rpc *rpc)
{
    return &rpc->due;
}

struct afork_call *afork__rpc_current(const struct afork_rpc *rpc)
{
    if (rpc->state == AFORK__RPC_ENDED) /* whoever was told of it may be freed */
        return NULL;
    return rpc->n_used ? afork__rpc_oldest(rpc) : TAILQ_FIRST(&rpc->unsent);
}

int afork__rpc_give(struct afork_rpc *rpc, struct afork_call *call)
{
    int result = afork__rpc_reserve(rpc);

    if (result < 0)
        return result;
    call->rpc = rpc;
    call->state = AFORK__CALL_UNSENT;
    TAILQ_INSERT_TAIL(&rpc->unsent, call, link);
    rpc->n_calls++;
    afork__rpc_send(rpc);
    return 0;
}

void afork__rpc_take_back(struct afork_rpc *rpc, struct afork_call *call)
{
    if (call->state == AFORK__CALL_SENT)
        afork__rpc_forget_call(rpc, call, true);
    remove_call(rpc, call);
    afork__rpc_update_watch(rpc);
}

static int call(struct afork_rpc *rpc, const struct afork__call_data *data,
                const struct afork_call_options *options, afork_call_cb *cb, void *cb_data,
                struct afork_call **ret)
{
    struct afork_call *made;
    int result = rpc ? afork__context_check(rpc->context) : -EINVAL;

    if (result < 0)
        return result;
    if (rpc->finishing || rpc->closed || rpc->state >= AFORK__RPC_CLOSED)
        return -EPIPE;
    if (options && options->n_fds &&
        (!rpc->own_frames || rpc->process->peer == AFORK_PEER_ORIGINAL))
        return -ENOTSUP;
    result = afork__call_new(rpc->context, data, options, cb, cb_data, &made);
    if (result < 0)
        return result;
    made->finish = afork__call_complete;
    result = afork__rpc_give(rpc, made);
    if (result < 0) {
        afork__call_discard(made);
        return result;
    }
    if (ret)
        *ret = made;
    return 0;
}

int afork_rpc_call(struct afork_rpc *rpc, const void *data, size_t len,
                   const struct afork_call_options *options, afork_call_cb *cb, void *cb_data,
                   struct afork_call **ret)
{
    const struct afork__call_data given = {.data = data, .len = len};

    return data || !len ? call(rpc, &given, options, cb, cb_data, ret) : -EINVAL;
}

int afork_rpc_call_take(struct afork_rpc *rpc, const void *data, size_t len,
                        void (*release)(void *release_data), void *release_data,
                        const struct afork_call_options *options, afork_call_cb *cb, void *cb_data,
                        struct afork_call **ret)
{
    const struct afork__call_data given = {
        .data = data, .len = len, .release = release, .release_data = release_data};

    return data && release ? call(rpc, &given, options, cb, cb_data, ret) : -EINVAL;
}

int afork_rpc_call_strings(struct afork_rpc *rpc, const struct iovec *strings, size_t n,
                           const struct afork_call_options *options, afork_call_cb *cb,
                           void *cb_data, struct afork_call **ret)
{
    const struct afork__call_data given = {.strings = strings, .n_strings = n};

    return strings || !n ? call(rpc, &given, options, cb, cb_data, ret) : -EINVAL;
}

size_t afork_rpc_get_pending(struct afork_rpc *rpc)
{
    const struct afork_call *call;
    size_t n = rpc ? rpc->n_calls : 0;

    if (rpc)
        TAILQ_FOREACH (call, &rpc->due.calls, link)
            n += call->state == AFORK__CALL_DUE;
    return n;
}
