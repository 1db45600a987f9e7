/* SPDX-License-Identifier: MIT
 *
 * See jobs.h. A job lives from its line until its result is in the output. All that live are in one
 * list, in the order of their lines; where results are wanted in that order, a job that is done
 * stays in it until it is the first.
 */
#include "jobs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

/* Octets that wait for the reader of the output before no more calls are made; octets of a line
 * that are shown with an error. */
enum { OUTPUT_MAX = 1 << 20, SHOWN = 200 };

enum state {
    JOB_WAITING, /* in the list of those that are to be made again */
    JOB_CALLED,
    JOB_DONE,
};

struct job {
    TAILQ_ENTRY(job) link, again_link;
    struct jobs *jobs;
    struct crew *crew;
    struct afork_call *call; /* JOB_CALLED */
    enum state state;
    unsigned failures;
    uint64_t seq;
    struct timespec start, start_date; /* with a joblog */
    char *result;                      /* JOB_DONE, as it is printed */
    size_t result_len;
    size_t len;
    char line[];
};

TAILQ_HEAD(job_list, job);

struct jobs {
    struct jobs_parts parts;
    struct job_list all, again;
    struct buffer scratch;
    uint64_t held; /* octets that all of them take */
    uint64_t seq;
    bool ended;   /* there are no more lines */
    bool stopped; /* there are to be no more calls */
    bool trouble;
};

struct jobs *jobs_new(const struct jobs_parts *parts)
{
    struct jobs *jobs = allocate(sizeof *jobs);

    *jobs = (struct jobs){.parts = *parts};
    TAILQ_INIT(&jobs->all);
    TAILQ_INIT(&jobs->again);
    return jobs;
}

static void free_job(struct job *job)
{
    struct jobs *jobs = job->jobs;

    jobs->held -= sizeof *job + job->len + job->result_len;
    TAILQ_REMOVE(&jobs->all, job, link);
    free(job->result);
    free(job);
}

void jobs_free(struct jobs *jobs)
{
    struct job *job;

    if (!jobs)
        return;
    while ((job = TAILQ_FIRST(&jobs->all)))
        free_job(job);
    buffer_free(&jobs->scratch);
    free(jobs);
}

/* ---- Results ---- */

/* Appends the results of a call as they are printed. False: they are not what was to come. */
static bool format(const struct job *job, const struct afork_reply *reply, struct buffer *out)
{
    const struct options *options = job->jobs->parts.options;
    struct afork_strings list = {reply->data, reply->len};
    const void *value;
    size_t len;
    int more;

    if (options->quiet)
        return true;
    if (options->json) {
        buffer_add(out, reply->data, reply->len);
        buffer_add(out, &options->terminator, 1);
        return true;
    }
    while ((more = afork_strings_next(&list, &value, &len)) > 0) {
        if (options->tag) {
            buffer_add(out, job->line, job->len);
            buffer_add(out, "\t", 1);
        }
        buffer_add(out, value, len);
        buffer_add(out, &options->terminator, 1);
    }
    return more == 0;
}

/* The first ones, as far as they are done. */
static void print_done(struct jobs *jobs)
{
    struct job *job;

    while ((job = TAILQ_FIRST(&jobs->all)) && job->state == JOB_DONE) {
        buffer_add(output_buffer(jobs->parts.output), job->result, job->result_len);
        free_job(job);
    }
}

/* The result goes where it belongs: what can be printed now is not copied. */
static bool take_result(struct job *job, const struct afork_reply *reply)
{
    struct jobs *jobs = job->jobs;
    struct buffer *out = output_buffer(jobs->parts.output), *scratch = &jobs->scratch;
    size_t before = out->len;

    if (jobs->parts.options->unordered || job == TAILQ_FIRST(&jobs->all)) {
        if (format(job, reply, out))
            return true;
        out->len = before;
        return false;
    }
    buffer_consume(scratch, scratch->len);
    if (!format(job, reply, scratch))
        return false;
    if (!scratch->len)
        return true;
    job->result = allocate(scratch->len);
    job->result_len = scratch->len;
    memcpy(job->result, scratch->data + scratch->start, scratch->len);
    jobs->held += job->result_len;
    return true;
}

/* ---- Ends of calls ---- */

static void tell_failure(const struct job *job, const struct afork_reply *reply)
{
    progress_clear(job->jobs->parts.progress);
    fprintf(stderr, "afork-run: line %llu (", (unsigned long long)job->seq);
    print_escaped(stderr, job->line, job->len, SHOWN);
    fputs("): ", stderr);
    print_message(stderr, reply->message);
}

static void log_job(const struct job *job, const struct afork_reply *reply)
{
    struct timespec now;

    if (!job->jobs->parts.joblog)
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const struct joblog_entry entry = {
        .seq = job->seq,
        .host = crew_host(job->crew),
        .start = (double)job->start_date.tv_sec + (double)job->start_date.tv_nsec * 1e-9,
        .runtime = (double)(now.tv_sec - job->start.tv_sec) +
                   (double)(now.tv_nsec - job->start.tv_nsec) * 1e-9,
        .sent = job->len,
        .received = reply->error ? 0 : reply->len,
        .reply = reply,
        .line = job->line,
    };
    joblog_add(job->jobs->parts.joblog, &entry);
}

/* Nothing more becomes of the job. */
static void settle(struct job *job)
{
    struct jobs *jobs = job->jobs;

    job->state = JOB_DONE;
    jobs->parts.counts->octets_done += job->len + 1;
    if (jobs->parts.options->unordered)
        free_job(job);
    else if (job == TAILQ_FIRST(&jobs->all))
        print_done(jobs);
}

static void call_again(struct job *job)
{
    job->state = JOB_WAITING;
    TAILQ_INSERT_TAIL(&job->jobs->again, job, again_link);
}

static void give_up(struct job *job)
{
    job->jobs->parts.counts->not_run++;
    settle(job);
}

static void fail(struct job *job, const struct afork_reply *reply)
{
    struct jobs *jobs = job->jobs;
    const struct options *options = jobs->parts.options;
    struct counts *counts = jobs->parts.counts;

    if (job->failures++ < options->retries && !jobs->stopped) {
        call_again(job);
        return;
    }
    tell_failure(job, reply);
    log_job(job, reply);
    counts->done++;
    counts->failed++;
    settle(job);
    if (options->halt != HALT_NEVER && counts->failed >= options->halt_failures && !jobs->stopped)
        jobs_stop(jobs, options->halt == HALT_NOW);
}

static void answered(const struct afork_reply *reply, void *data)
{
    struct job *job = data;
    struct jobs *jobs = job->jobs;

    job->call = NULL;
    jobs->parts.counts->running--;
    if (!crew_answered(job->crew, reply)) {
        call_again(job);
    } else if (reply->error == -ECANCELED) {
        give_up(job);
    } else if (reply->error) {
        fail(job, reply);
    } else if (take_result(job, reply)) {
        log_job(job, reply);
        jobs->parts.counts->done++;
        settle(job);
    } else {
        fail(job, &(struct afork_reply){.error = -EPROTO, .message = "the answer is malformed"});
    }
}

/* ---- Calls ---- */

static void call(struct jobs *jobs, struct job *job, struct crew *crew)
{
    job->crew = crew;
    if (jobs->parts.joblog) {
        clock_gettime(CLOCK_MONOTONIC, &job->start);
        clock_gettime(CLOCK_REALTIME, &job->start_date);
    }
    int result = crew_call(crew, job->line, job->len, answered, job, &job->call);
    if (!result) {
        job->state = JOB_CALLED;
        jobs->parts.counts->running++;
    } else if (result == -EMSGSIZE || result == -ENOMEM) {
        fail(job, &(struct afork_reply){.error = result, .message = strerror(-result)});
    } else {
        crew_give_up(crew, strerror(-result));
        call_again(job);
    }
}

static bool is_skipped(const struct options *options, const char *line, size_t len)
{
    if (!options->json)
        return options->skip_empty && !len;
    while (len && is_blank(line[len - 1]))
        len--;
    return !len;
}

static void end_of_lines(struct jobs *jobs)
{
    jobs->ended = true;
    jobs->parts.counts->all_read = true;
}

static void tell_trouble(struct jobs *jobs, const char *what, const char *why)
{
    progress_clear(jobs->parts.progress);
    fprintf(stderr, "afork-run: %s: %s\n", what, why);
    jobs->trouble = true;
}

/* A job of the next line; NULL: there is none (yet). */
static struct job *next_line(struct jobs *jobs)
{
    const char *list = jobs->parts.options->list;
    const char *line;
    size_t len;

    if (jobs->ended || jobs->held >= jobs->parts.options->hold)
        return NULL;
    for (;;) {
        enum input_state state = input_next(jobs->parts.input, &line, &len);
        if (state == INPUT_ERROR)
            tell_trouble(jobs, list ? list : "standard input", input_error(jobs->parts.input));
        if (state == INPUT_ERROR || state == INPUT_END)
            end_of_lines(jobs);
        if (state != INPUT_LINE)
            return NULL;
        jobs->seq++;
        if (!is_skipped(jobs->parts.options, line, len))
            break;
    }
    struct job *job = allocate(sizeof *job + len + 1);
    *job = (struct job){.jobs = jobs, .seq = jobs->seq, .len = len};
    memcpy(job->line, line, len);
    job->line[len] = '\0';
    jobs->held += sizeof *job + len;
    TAILQ_INSERT_TAIL(&jobs->all, job, link);
    jobs->parts.counts->read++;
    return job;
}

static struct job *next_job(struct jobs *jobs)
{
    struct job *job = TAILQ_FIRST(&jobs->again);

    if (!job)
        return next_line(jobs);
    TAILQ_REMOVE(&jobs->again, job, again_link);
    return job;
}

static bool is_output_full(const struct jobs *jobs)
{
    return output_pending(jobs->parts.output) >= OUTPUT_MAX;
}

bool jobs_step(struct jobs *jobs)
{
    struct crew *crew;
    struct job *job;

    while (!jobs->stopped && !is_output_full(jobs) &&
           (crew = workers_choose(jobs->parts.workers)) && (job = next_job(jobs)))
        call(jobs, job, crew);
    if (!jobs->stopped && workers_are_gone(jobs->parts.workers)) {
        jobs->trouble = true;
        jobs_stop(jobs, true);
    }
    while (jobs->stopped && (job = TAILQ_FIRST(&jobs->again))) {
        TAILQ_REMOVE(&jobs->again, job, again_link);
        give_up(job);
    }
    return is_output_full(jobs);
}

void jobs_stop(struct jobs *jobs, bool now)
{
    struct job *job;

    jobs->stopped = true;
    TAILQ_FOREACH (job, &jobs->all, link)
        if (job->state == JOB_CALLED)
            afork_call_cancel(job->call, now ? AFORK_CANCEL_KILL : AFORK_CANCEL_QUEUED);
}

bool jobs_are_over(const struct jobs *jobs)
{
    return (jobs->ended || jobs->stopped) && TAILQ_EMPTY(&jobs->all);
}

bool jobs_are_in_trouble(const struct jobs *jobs)
{
    return jobs->trouble;
}
