/* SPDX-License-Identifier: MIT
 *
 * See workers.h. How many calls a worker is given ahead depends on how long they take: a worker
 * must not wait for us between short ones, nor hold calls that others could do behind a long one.
 */
#include "workers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "template.h"
#include "text.h"

enum {
    LOAD_MIN = 1, /* of long calls, none may wait behind another while a worker is free */
    LOAD_MAX = 256,
    AHEAD_OCTETS = 1 << 20, /* results that a worker owes, there too */
    AHEAD_USEC = 10000,     /* work that a worker holds, where the load is ours to choose */
    SAMPLE = 32,            /* calls after which that is looked at */
    START_FAILURES = 2,     /* one may be a worker that a call has ended: see worker_ended() */
    CREW_CALLS_MAX = 16384, /* read ahead for one crew, unless told otherwise */
};

/* As AFORK_SERIALISER_JSON; but what is no array is the one argument. */
static const char json_lines[] =
    "my $json = eval { require JSON::XS; JSON::XS->new }"
    " // do { require JSON::PP; JSON::PP->new };"
    " $json->utf8->allow_nonref;"
    " (sub { $json->encode(\\@_) },"
    " sub { my $value = $json->decode(shift); ref $value eq 'ARRAY' ? @$value : $value })";

struct crew {
    struct workers *workers;
    const char *host; /* ":": here */
    struct afork_process *template;
    struct afork_pool *pool;
    bool gone; /* it cannot start workers */
    bool had_worker;
    bool destroyed; /* its pool has ended */
    bool template_gone;
    char *early_end; /* of the template, before there was a worker; NULL: none, or it said why */
    unsigned n_calls, load, room;
    unsigned n_sampled;
    uint64_t sampled_octets;
    int64_t sampled_at;
    struct afork_process **ready; /* workers that have started; borrowed */
    size_t n_ready;
    struct afork_pool_stats stats; /* of before its end */
};

struct workers {
    const struct options *options;
    struct progress *progress;
    unsigned max;
    struct crew *crews;
    size_t n_crews;
};

static int64_t now_usec(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000) + time.tv_nsec / 1000;
}

/* ---- What is told ---- */

static void name_crew(const struct crew *crew)
{
    progress_clear(crew->workers->progress);
    fputs("afork-run: ", stderr);
    if (strcmp(crew->host, ":") != 0)
        fprintf(stderr, "%s: ", crew->host);
}

void crew_give_up(struct crew *crew, const char *message)
{
    if (crew->gone)
        return;
    crew->gone = true;
    name_crew(crew);
    fputs("cannot start workers: ", stderr);
    print_message(stderr, message);
}

static void template_ended(struct afork_process *process, const struct afork_exit *exit, void *data)
{
    struct crew *crew = data;

    (void)process;
    crew->template_gone = true;
    if (!crew->pool) {
        crew_give_up(crew, exit->message[0] ? exit->message : "the perl has ended");
        return;
    }
    if (!exit->message[0] || exit->cause == AFORK_CAUSE_EXITED ||
        exit->cause == AFORK_CAUSE_SIGNALLED) {
        if (!crew->had_worker) /* if the pool cannot start any, that is why */
            crew->early_end = strdup(exit->message[0] ? exit->message : "nobody knows how");
        return; /* the pool will see what it can do */
    }
    crew_give_up(crew, exit->message);
}

static void worker_started(struct afork_pool *pool, struct afork_process *worker, void *data)
{
    struct crew *crew = data;

    (void)pool;
    crew->had_worker = true;
    struct afork_process **ready = realloc(crew->ready, (crew->n_ready + 1) * sizeof *ready);
    if (ready) {
        crew->ready = ready;
        ready[crew->n_ready++] = worker;
    }
    if (!crew->workers->options->verbose)
        return;
    name_crew(crew);
    fprintf(stderr, "worker %ld started\n", (long)afork_process_peer_pid(worker));
}

static bool was_ready(struct crew *crew, const struct afork_process *worker)
{
    for (size_t i = 0; i < crew->n_ready; i++) {
        if (crew->ready[i] != worker)
            continue;
        crew->ready[i] = crew->ready[--crew->n_ready];
        return true;
    }
    return false;
}

/* A worker that had started ended because of a call: that is told where the call is, and no reason
 * to doubt that others can start. */
static void worker_ended(struct afork_pool *pool, struct afork_process *worker,
                         const struct afork_exit *exit, void *data)
{
    struct crew *crew = data;

    if (was_ready(crew, worker) && !crew->gone)
        afork_pool_reset(pool);
    if (!crew->workers->options->verbose)
        return;
    name_crew(crew);
    fputs("a worker ended: ", stderr);
    print_message(stderr, exit && exit->message[0] ? exit->message : "nobody knows how");
}

static void pool_ended(struct afork_pool *pool, void *data)
{
    struct crew *crew = data;

    (void)pool;
    crew->destroyed = true;
}

/* ---- Calls ---- */

const char *crew_host(const struct crew *crew)
{
    return crew->host;
}

/* How many calls it may have in all. */
static void set_room(struct crew *crew)
{
    const struct options *options = crew->workers->options;
    unsigned n = crew->load * crew->workers->max;

    if (options->queue)
        crew->room = n + options->queue;
    else if (options->joblog)
        crew->room = n; /* what is made begins at once, or its time would be wrong */
    else
        crew->room = n < CREW_CALLS_MAX / 2 ? 2 * n : n + CREW_CALLS_MAX / 2;
}

static bool is_load_ours(const struct options *options)
{
    return !options->load && !options->single && !options->joblog;
}

static void adapt_load(struct crew *crew, size_t octets)
{
    const struct workers *workers = crew->workers;
    int64_t now = now_usec();

    crew->sampled_octets += octets;
    if (++crew->n_sampled < SAMPLE && crew->sampled_at)
        return;
    int64_t each = (now - crew->sampled_at) * workers->max / SAMPLE; /* of a worker's time */
    int64_t load = AHEAD_USEC / (each + 1);
    int64_t most = AHEAD_OCTETS / (int64_t)(crew->sampled_octets / SAMPLE + 1);
    if (load > most) /* they are there at once when nobody reads what is printed */
        load = most;
    if (!crew->sampled_at || load < LOAD_MIN)
        load = LOAD_MIN;
    else if (load > LOAD_MAX)
        load = LOAD_MAX;
    crew->n_sampled = 0;
    crew->sampled_octets = 0;
    crew->sampled_at = now;
    /* Small changes are not worth the call. */
    if (load < 2 * crew->load && 2 * load > crew->load)
        return;
    if (afork_pool_set_size(crew->pool, workers->max, 0, (unsigned)load) < 0)
        return;
    crew->load = (unsigned)load;
    set_room(crew);
}

struct crew *workers_choose(struct workers *workers)
{
    struct crew *best = NULL;

    for (size_t i = 0; i < workers->n_crews; i++) {
        struct crew *crew = &workers->crews[i];
        if (crew->gone || crew->n_calls >= crew->room)
            continue;
        if (!best || (uint64_t)crew->n_calls * best->room < (uint64_t)best->n_calls * crew->room)
            best = crew;
    }
    return best;
}

bool workers_are_gone(const struct workers *workers)
{
    for (size_t i = 0; i < workers->n_crews; i++)
        if (!workers->crews[i].gone)
            return false;
    return true;
}

static int call_strings(struct crew *crew, const char *line, size_t len,
                        const struct afork_call_options *call_options, afork_call_cb *cb,
                        void *data, struct afork_call **ret)
{
    const struct options *options = crew->workers->options;
    size_t n = (size_t)options->n_args;
    struct iovec few[8], *strings = n < 8 ? few : allocate((n + 1) * sizeof *strings);

    for (size_t i = 0; i < n; i++)
        strings[i] = (struct iovec){options->args[i], strlen(options->args[i])};
    strings[n] = (struct iovec){(void *)line, len};
    int result = afork_pool_call_strings(crew->pool, strings, n + 1, call_options, cb, data, ret);
    if (strings != few)
        free(strings);
    return result;
}

int crew_call(struct crew *crew, const char *line, size_t len, afork_call_cb *cb, void *data,
              struct afork_call **ret)
{
    struct afork_call_options options = AFORK_CALL_OPTIONS_INIT;

    options.run_timeout = crew->workers->options->timeout;
    int result = crew->workers->options->json
                     ? afork_pool_call(crew->pool, line, len, &options, cb, data, ret)
                     : call_strings(crew, line, len, &options, cb, data, ret);
    if (!result)
        crew->n_calls++;
    return result;
}

static bool is_about_the_start(const struct afork_reply *reply)
{
    if (reply->exit) {
        switch (reply->exit->cause) {
        case AFORK_CAUSE_START:
        case AFORK_CAUSE_EVAL:
        case AFORK_CAUSE_REQUIRE:
        case AFORK_CAUSE_FUNCTION:
        case AFORK_CAUSE_FORK:
        case AFORK_CAUSE_LIMITS:
            return true;
        default:
            break;
        }
    }
    switch (reply->error) {
    case 0:
    case -EREMOTEIO:
    case -ECONNRESET:
    case -EPROTO:
    case -ETIMEDOUT:
    case -ECANCELED:
    case -ENOMEM:
    case -EMFILE:
        return false;
    default:
        return true;
    }
}

/* What ends the perl that is prepared has no words of its own. */
static void give_up_start(struct crew *crew, const char *message)
{
    static const char words[] = "the perl ended while modules and --begin were loaded: ";

    if (crew->had_worker || !crew->early_end) {
        crew_give_up(crew, message);
        return;
    }
    size_t size = sizeof words + strlen(crew->early_end);
    char *text = allocate(size);
    snprintf(text, size, "%s%s", words, crew->early_end);
    crew_give_up(crew, text);
    free(text);
}

bool crew_answered(struct crew *crew, const struct afork_reply *reply)
{
    crew->n_calls--;
    if (is_about_the_start(reply)) {
        give_up_start(crew, reply->message);
        return false;
    }
    if (is_load_ours(crew->workers->options))
        adapt_load(crew, reply->len);
    return true;
}

/* ---- Life ---- */

static void set_pool_options(struct crew *crew, struct afork_pool_options *pool)
{
    const struct workers *workers = crew->workers;
    const struct options *options = workers->options;

    pool->rpc.serialiser = options->json ? json_lines : NULL;
    pool->rpc.init = template_init(options);
    pool->max = workers->max;
    pool->load = crew->load;
    pool->start = -1;
    pool->stop = INT64_MAX / 4; /* not before the end */
    pool->single_call = options->single;
    pool->max_failures = START_FAILURES;
    pool->on_worker_start = worker_started;
    pool->on_worker_exit = worker_ended;
    pool->on_destroy = pool_ended;
    pool->data = crew;
}

static int crew_start(struct crew *crew, struct afork_context *context)
{
    const struct options *options = crew->workers->options;
    struct afork_pool_options pool = AFORK_POOL_OPTIONS_INIT;
    const char *host = strcmp(crew->host, ":") == 0 ? NULL : crew->host;

    int result = template_new(context, options, host, &crew->template);
    if (result < 0)
        return result;
    crew->template_gone = host !=
                          NULL; /* that is only a record, of whose end there is nothing to tell */
    if (!host)
        result = afork_process_on_exit(crew->template, template_ended, crew);
    if (result < 0)
        return result;
    crew->load = options->load ? options->load : LOAD_MIN;
    set_pool_options(crew, &pool);
    result = afork_pool_new(crew->template, template_function(options, host), &pool, &crew->pool);
    if (!result)
        set_room(crew);
    /* It has ended already: the notice of that says why, and there is no room until then. */
    return result == -ESRCH && !host ? 0 : result;
}

int workers_new(struct afork_context *context, const struct options *options,
                struct progress *progress, struct workers **ret)
{
    static const char *const here[] = {":", NULL};
    const char *const *hosts = options->hosts ? (const char *const *)options->hosts : here;
    struct workers *workers = allocate(sizeof *workers);
    int result = 0;

    *workers = (struct workers){.options = options, .progress = progress};
    workers->max = options->jobs ? options->jobs : afork_cpu_count();
    for (size_t n = 0; hosts[n]; n++)
        workers->n_crews = n + 1;
    workers->crews = allocate(workers->n_crews * sizeof *workers->crews);
    for (size_t i = 0; i < workers->n_crews; i++)
        workers->crews[i] = (struct crew){.workers = workers, .host = hosts[i]};
    for (size_t i = 0; !result && i < workers->n_crews; i++)
        result = crew_start(&workers->crews[i], context);
    *ret = workers;
    return result;
}

void workers_finish(struct workers *workers)
{
    for (size_t i = 0; i < workers->n_crews; i++) {
        struct crew *crew = &workers->crews[i];
        if (crew->pool)
            afork_pool_get_stats(crew->pool, &crew->stats);
        else
            crew->destroyed = true;
        afork_pool_unref(crew->pool);
        afork_process_unref(crew->template);
        crew->gone = true; /* and nothing is told any more */
        crew->pool = NULL;
        crew->template = NULL;
    }
}

bool workers_have_ended(const struct workers *workers)
{
    for (size_t i = 0; i < workers->n_crews; i++)
        if (!workers->crews[i].destroyed || !workers->crews[i].template_gone)
            return false;
    return true;
}

void workers_count(const struct workers *workers, uint64_t *started, uint64_t *crashed)
{
    *started = *crashed = 0;
    for (size_t i = 0; i < workers->n_crews; i++) {
        *started += workers->crews[i].stats.started;
        *crashed += workers->crews[i].stats.crashed;
    }
}

void workers_free(struct workers *workers)
{
    if (!workers)
        return;
    for (size_t i = 0; i < workers->n_crews; i++) {
        struct crew *crew = &workers->crews[i];
        afork_pool_unref(crew->pool);
        afork_process_unref(crew->template);
        free(crew->ready);
        free(crew->early_end);
    }
    free(workers->crews);
    free(workers);
}
