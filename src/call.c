/* SPDX-License-Identifier: MIT
 *
 * Calls as such: made, cancelled, completed. Who carries them is in rpc.c and pool.c.
 */
#include "config.h"

#include "call.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "spawn.h"
#include "util.h"
#include "wire.h"

/* ---- Strings ---- */

int afork_strings_next(struct afork_strings *list, const void **ret_data, size_t *ret_len)
{
    if (!list || !ret_data || !ret_len || (!list->data && list->len))
        return -EINVAL;
    if (!list->len)
        return 0;
    struct afork__strings strings = {list->data, (const uint8_t *)list->data + list->len};
    int result = afork__strings_next(&strings, ret_data, ret_len);
    if (result > 0) {
        list->data = strings.pos;
        list->len = (size_t)(strings.end - strings.pos);
    }
    return result;
}

int afork_strings_pack(const struct iovec *strings, size_t n, void **ret, size_t *ret_len)
{
    if (!ret || !ret_len || (!strings && n))
        return -EINVAL;
    size_t size = afork__strings_size(strings, n);
    if (size > UINT32_MAX)
        return -EMSGSIZE;
    uint8_t *packed = malloc(size ? size : 1);
    if (!packed)
        return -ENOMEM;
    afork__strings_put(packed, strings, n);
    *ret = packed;
    *ret_len = size;
    return 0;
}

/* ---- Making ---- */

/* A call with room for the copy of its data. */
static int allocate(const struct afork__call_data *data, struct afork_call **ret)
{
    size_t len = data->n_strings ? afork__strings_size(data->strings, data->n_strings) : data->len;

    if (len > UINT32_MAX)
        return -EMSGSIZE;
    bool copied = !data->release;
    struct afork_call *call = malloc(sizeof *call + (copied ? len : 0));
    if (!call)
        return -ENOMEM;
    memset(call, 0, sizeof *call);
    call->data = copied ? call->copy : data->data;
    call->len = len;
    call->release_taken = data->release;
    call->release_data = data->release_data;
    if (copied && data->n_strings)
        afork__strings_put(call->copy, data->strings, data->n_strings);
    else if (copied && len)
        memcpy(call->copy, data->data, len);
    *ret = call;
    return 0;
}

static void close_fds(int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        afork__close(&fds[i]);
}

static int duplicate_fds(struct afork_call *call, const int *fds, size_t n)
{
    if (!n)
        return 0;
    call->fds = calloc(n, sizeof *call->fds);
    if (!call->fds)
        return -ENOMEM;
    for (; call->n_fds < n; call->n_fds++) {
        int fd = afork__duplicate(fds[call->n_fds]);
        if (fd < 0)
            return fd;
        call->fds[call->n_fds] = fd;
    }
    return 0;
}

static bool are_good(const struct afork_call_options *options)
{
    return options->size >= sizeof *options && options->timeout >= 0 && options->run_timeout >= 0 &&
           options->priority >= AFORK_PRIORITY_MIN && options->priority <= AFORK_PRIORITY_MAX &&
           options->n_fds <= AFORK_CALL_FDS_MAX && (options->fds || !options->n_fds);
}

static void timed_out(struct afork__deadline *deadline);

static int set_options(struct afork_call *call, const struct afork_call_options *options)
{
    if (!options)
        return 0;
    int result = duplicate_fds(call, options->fds, options->n_fds);
    if (!result && (options->timeout || options->run_timeout))
        result = afork__deadlines_prepare(call->context);
    if (result < 0)
        return result;
    call->priority = options->priority;
    call->run_timeout = options->run_timeout;
    call->on_event = options->on_event;
    call->on_begin = options->on_begin;
    call->prompt = options->run_timeout || options->on_begin;
    call->release = options->release;
    if (options->timeout) {
        call->timeout.cb = timed_out;
        afork__deadline_set(call->context, &call->timeout,
                            afork__later(afork__now(), options->timeout), false);
    }
    return 0;
}

/* What it is made of, but for what the user owns. */
static void free_parts(struct afork_call *call)
{
    close_fds(call->fds, call->n_fds);
    free(call->fds);
    afork__context_unref(call->context);
    free(call);
}

int afork__call_new(struct afork_context *context, const struct afork__call_data *data,
                    const struct afork_call_options *options, afork_call_cb *cb, void *cb_data,
                    struct afork_call **ret)
{
    struct afork_call *call;

    if (!cb || (options && !are_good(options)))
        return -EINVAL;
    int result = allocate(data, &call);
    if (result < 0)
        return result;
    call->context = afork__context_ref(context);
    call->cb = cb;
    call->cb_data = cb_data;
    result = set_options(call, options);
    if (result < 0) {
        free_parts(call);
        return result;
    }
    *ret = call;
    return 0;
}

void afork__call_discard(struct afork_call *call)
{
    afork__deadline_clear(call->context, &call->timeout);
    free_parts(call);
}

void afork__call_free(struct afork_call *call)
{
    if (call->release_taken)
        call->release_taken(call->release_data);
    free_parts(call);
}

/* ---- Completing ---- */

void *afork_reply_steal(const struct afork_reply *reply)
{
    if (!reply || !reply->data)
        return NULL;
    if (reply->memory && *reply->memory == reply->data) {
        void *stolen = *reply->memory;
        *reply->memory = NULL;
        return stolen;
    }
    void *copy = malloc(reply->len ? reply->len : 1);
    return copy ? memcpy(copy, reply->data, reply->len) : NULL;
}

const char *afork__call_words(int error)
{
    switch (error) {
    case 0:
        return "";
    case -ETIMEDOUT:
        return "it timed out";
    case -ECANCELED:
        return "it was cancelled";
    case -ECONNRESET:
        return "the worker ended before it answered";
    case -EPROTO:
        return "the worker sent what is not an answer";
    default:
        return strerror(-error);
    }
}

/* The user's part ends; the memory may be needed until all is written. */
static void leave(struct afork_call *call)
{
    void (*release)(void *data) = call->release;

    call->release = NULL;
    if (release)
        release(call->cb_data);
    call->state = AFORK__CALL_GONE;
    if (!call->writing)
        afork__call_free(call);
}

void afork__call_complete(struct afork_call *call, struct afork_reply *reply)
{
    afork__deadline_clear(call->context, &call->timeout);
    call->state = AFORK__CALL_DONE;
    call->cb(reply, call->cb_data);
    close_fds(reply->fds, reply->n_fds);
    leave(call);
}

void afork__call_fail(struct afork_call *call, int error, const char *message,
                      const struct afork_exit *exit)
{
    struct afork_reply reply = {
        .error = error,
        .message = message ? message : afork__call_words(error),
        .exit = exit,
    };

    afork__call_complete(call, &reply);
}

void afork__call_drop(struct afork_call *call)
{
    afork__deadline_clear(call->context, &call->timeout);
    call->state = AFORK__CALL_DONE;
    leave(call);
}

void afork__due_init(struct afork__due *due, void (*cb)(struct afork__turn *turn))
{
    TAILQ_INIT(&due->calls);
    due->turn = (struct afork__turn){.cb = cb};
}

void afork__due_add(struct afork__due *due, struct afork_call *call, int error)
{
    afork__deadline_clear(call->context, &call->timeout);
    call->state = AFORK__CALL_DUE;
    call->error = error;
    TAILQ_INSERT_TAIL(&due->calls, call, link);
    afork__turn_due(call->context, &due->turn);
}

void afork__due_release(struct afork__due *due, struct afork_call *call)
{
    TAILQ_INSERT_TAIL(&due->calls, call, link);
    afork__turn_due(call->context, &due->turn);
}

bool afork__due_next(struct afork__due *due)
{
    struct afork_call *call = TAILQ_FIRST(&due->calls);

    if (!call)
        return false;
    TAILQ_REMOVE(&due->calls, call, link);
    if (!TAILQ_EMPTY(&due->calls)) /* a user who turns the loop gets the others there */
        afork__turn_due(call->context, &due->turn);
    if (call->state == AFORK__CALL_GONE)
        afork__call_free(call);
    else
        afork__call_fail(call, call->error, NULL, NULL);
    return true;
}

void afork__due_clear(struct afork__due *due, struct afork_context *context)
{
    struct afork_call *call;

    afork__turn_clear(context, &due->turn);
    while ((call = TAILQ_FIRST(&due->calls))) {
        TAILQ_REMOVE(&due->calls, call, link);
        if (call->state == AFORK__CALL_GONE)
            afork__call_free(call);
        else
            afork__call_drop(call);
    }
}

/* ---- Cancelling ---- */

void afork__call_withdraw(struct afork_call *call, int error)
{
    struct afork_rpc *rpc = call->rpc;

    if (call->pool) {
        afork__pool_withdraw(call, error);
    } else {
        afork__rpc_take_back(rpc, call);
        afork__due_add(afork__rpc_due(rpc), call, error);
    }
}

static void timed_out(struct afork__deadline *deadline)
{
    struct afork_call *call = AFORK__CONTAINER(deadline, struct afork_call, timeout);

    afork__call_withdraw(call, -ETIMEDOUT);
}

/* Whether nothing stands against it. */
static int may_cancel(struct afork_call *call, enum afork_cancel how)
{
    int result = call ? afork__context_check(call->context) : -EINVAL;

    if (result < 0)
        return result;
    if (call->state == AFORK__CALL_DUE || call->state == AFORK__CALL_DONE)
        return -EALREADY;
    if (call->pool)
        return afork__pool_may_cancel(call, how);
    if (how == AFORK_CANCEL_KILL)
        return -EINVAL;
    return how == AFORK_CANCEL_QUEUED && call->state != AFORK__CALL_UNSENT ? -EBUSY : 0;
}

int afork_call_cancel(struct afork_call *call, enum afork_cancel how)
{
    int result = may_cancel(call, how);

    if (!result)
        afork__call_withdraw(call, -ECANCELED);
    return result;
}

int afork_call_set_priority(struct afork_call *call, int priority)
{
    int result = call ? afork__context_check(call->context) : -EINVAL;

    if (result < 0)
        return result;
    if (priority < AFORK_PRIORITY_MIN || priority > AFORK_PRIORITY_MAX)
        return -ERANGE;
    if (!call->pool)
        return -EINVAL;
    if (call->state != AFORK__CALL_QUEUED)
        return -EBUSY;
    afork__pool_move(call, priority);
    return 0;
}
