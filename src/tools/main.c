/* SPDX-License-Identifier: MIT
 *
 * afork-run: calls a Perl function for each line of a list. This file has the run from its start to
 * its exit status, and the signals.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "jobs.h"

/* How long workers may take to end when there is nothing left to do. */
enum { END_SECONDS = 30 };

/* Octets that wait for the reader of the output before no more results are taken. */
enum { STALLED = 4 << 20 };

struct run {
    struct options options;
    struct afork_poll *poll;
    struct afork_loop *loop;
    struct afork_context *context;
    struct input *input;
    struct output *output;
    struct joblog *joblog;
    struct counts counts;
    struct progress *progress;
    struct workers *workers;
    struct jobs *jobs;
    int signal_fd;
    struct afork_io *signal_io;
    int signal; /* the first that came; 0: none */
    unsigned n_signals;
    bool on_terminal; /* standard output, which shares it with the bar */
    bool leaving;     /* at once */
    bool trouble;
};

static bool complain(const char *what, int error)
{
    fprintf(stderr, "afork-run: %s: %s\n", what, strerror(error < 0 ? -error : error));
    return false;
}

/* ---- Signals ---- */

static void on_signal(unsigned events, void *data)
{
    struct run *run = data;
    struct signalfd_siginfo info;

    (void)events;
    if (read(run->signal_fd, &info, sizeof info) != sizeof info)
        return;
    if (!run->signal)
        run->signal = (int)info.ssi_signo;
    if (run->n_signals++) {
        run->leaving = true;
        return;
    }
    jobs_stop(run->jobs, false);
    if (!run->counts.running)
        return;
    progress_clear(run->progress);
    fprintf(stderr, "afork-run: %s: waiting for calls that have begun; once more kills them\n",
            strsignal(run->signal));
}

/* They are blocked for good: the loop reads them. What is executed has them as usual. */
static int watch_signals(struct run *run)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action;
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (sigaction(signals[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            sigaddset(&set, signals[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN); /* a write says so as well */
    run->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (run->signal_fd < 0)
        return -errno;
    return run->loop->ops->io_new(run->loop, run->signal_fd, AFORK_IN, on_signal, run,
                                  &run->signal_io);
}

/* ---- Start ---- */

static bool open_standard_descriptors(const struct options *options)
{
    static const char *const names[] = {"standard input", "standard output", "standard error"};
    bool good = true;

    for (int fd = 0; fd < 3; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        if (open("/dev/null", fd ? O_WRONLY : O_RDONLY) != fd)
            return false;
        if ((fd == 0 && !options->list) || (fd == 1 && !options->quiet))
            good = complain(names[fd], EBADF);
    }
    return good;
}

static void on_warning(struct afork_context *context, struct afork_process *process,
                       const char *message, void *data)
{
    struct run *run = data;

    (void)context;
    (void)process;
    if (!run->options.verbose)
        return;
    progress_clear(run->progress);
    fputs("afork-run: ", stderr);
    print_message(stderr, message);
}

static int make_context(struct run *run)
{
    struct afork_context_options options = AFORK_CONTEXT_OPTIONS_INIT;

    options.include_dirs = (const char *const *)run->options.include_dirs;
    options.new_session = true; /* a Ctrl-C is for us to deal with */
    /* Results are returned. What is printed is for the eyes. */
    options.standard_output = (struct afork_stdio){AFORK_STDIO_FD, STDERR_FILENO};
    options.on_warning = on_warning;
    options.warning_data = run;
    return afork_context_new(run->loop, &options, &run->context);
}

static bool set_up(struct run *run)
{
    const struct options *options = &run->options;
    int result = afork_poll_new(&run->poll);

    if (result < 0)
        return complain("loop", result);
    run->loop = afork_poll_loop(run->poll);
    result = input_new(run->loop, options->list, options->separator, &run->input);
    if (result < 0)
        return complain(options->list ? options->list : "standard input", result);
    run->counts.octets = input_size(run->input);
    result = output_new(run->loop, &run->output);
    if (result < 0)
        return complain("standard output", result);
    run->on_terminal = isatty(STDOUT_FILENO);
    if (options->joblog && (result = joblog_new(options, &run->joblog)) < 0)
        return complain(options->joblog, result);
    result = watch_signals(run); /* not before: to open a pipe may take for ever */
    if (result < 0)
        return complain("signals", result);
    result = progress_new(run->loop, &run->counts, options->progress, &run->progress);
    if (result < 0)
        return complain("loop", result);
    result = make_context(run);
    if (result < 0)
        return complain("workers", result);
    result = workers_new(run->context, options, run->progress, &run->workers);
    if (result < 0)
        return complain(afork_context_get_perl(run->context), result);
    const struct jobs_parts parts = {
        .options = options,
        .input = run->input,
        .output = run->output,
        .workers = run->workers,
        .progress = run->progress,
        .counts = &run->counts,
        .joblog = run->joblog,
    };
    run->jobs = jobs_new(&parts);
    return true;
}

/* ---- Run ---- */

static bool turn(struct run *run, int64_t usec)
{
    int result = afork_poll_turn(run->poll, usec);

    if (result >= 0 || result == -EINTR)
        return true;
    run->trouble = true;
    return complain("loop", result);
}

static void print(struct run *run)
{
    if (!output_pending(run->output))
        return;
    if (run->on_terminal)
        progress_clear(run->progress);
    output_flush(run->output);
}

static bool is_over(const struct run *run)
{
    return run->leaving || output_error(run->output) ||
           (jobs_are_over(run->jobs) && !output_pending(run->output));
}

/* Whether results are not to be taken from workers: nobody reads those that there are. That is not
 * done where time runs meanwhile, which would be up for answers that are not looked at. */
static bool is_stalled(const struct run *run)
{
    return output_pending(run->output) >= STALLED && !run->options.timeout && !run->options.hosts &&
           !run->joblog;
}

/* Waits for a reader, or a signal, but turns no loop: workers stop when their sockets are full. */
static bool wait_for_reader(const struct run *run)
{
    struct pollfd fds[] = {{.fd = output_fd(run->output), .events = POLLOUT},
                           {.fd = run->signal_fd, .events = POLLIN}};

    return poll(fds, 2, -1) > 0 && !fds[1].revents;
}

/* Where the output was full, and is written at once, nothing else may be left that wakes us. */
static void step(struct run *run)
{
    bool was_full;

    do {
        was_full = jobs_step(run->jobs);
        print(run);
    } while (was_full && !output_pending(run->output) && !output_error(run->output));
}

static void work(struct run *run)
{
    for (;;) {
        step(run);
        if (is_over(run))
            return;
        if (is_stalled(run) && wait_for_reader(run))
            continue;
        if (!turn(run, is_stalled(run) ? 0 : -1))
            return;
    }
}

static int64_t now_usec(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000) + time.tv_nsec / 1000;
}

/* Workers end by themselves where they may: they have END blocks to run, and files to write. */
static void let_workers_end(struct run *run)
{
    int64_t end = now_usec() + END_SECONDS * INT64_C(1000000), now;

    if (run->leaving || output_error(run->output))
        return;
    workers_finish(run->workers);
    while (!run->leaving && !workers_have_ended(run->workers)) {
        if ((now = now_usec()) < end && turn(run, end - now))
            continue;
        complain("workers do not end, and are killed", ETIMEDOUT);
        return;
    }
}

static void summarise(struct run *run)
{
    const struct counts *counts = &run->counts;
    uint64_t started, crashed;
    double seconds = progress_seconds(run->progress);

    progress_clear(run->progress);
    workers_count(run->workers, &started, &crashed);
    if (!run->options.verbose)
        return;
    fprintf(stderr,
            "afork-run: %llu calls in %.2f s (%.0f/s), %llu failed; %llu workers, %llu of them "
            "crashed\n",
            (unsigned long long)counts->done, seconds, (double)counts->done / (seconds + 1e-9),
            (unsigned long long)counts->failed, (unsigned long long)started,
            (unsigned long long)crashed);
    if (counts->not_run)
        fprintf(stderr, "afork-run: %llu lines that were read were not worked on\n",
                (unsigned long long)counts->not_run);
}

static void tear_down(struct run *run)
{
    if (run->context)
        afork_context_close(run->context);
    workers_free(run->workers);
    jobs_free(run->jobs);
    progress_free(run->progress);
    output_free(run->output);
    input_free(run->input);
    if (run->signal_io)
        run->loop->ops->io_free(run->signal_io);
    if (run->signal_fd >= 0)
        close(run->signal_fd);
    afork_poll_free(run->poll);
    int result = joblog_end(run->joblog);
    if (result < 0) {
        complain(run->options.joblog, result);
        run->trouble = true;
    }
}

static int status_of(const struct run *run, int write_error, bool trouble)
{
    if (run->signal)
        return EXIT_SIGNAL + run->signal;
    if (write_error == EPIPE)
        return EXIT_SIGNAL + SIGPIPE;
    if (trouble || run->trouble || write_error)
        return EXIT_TROUBLE;
    return run->counts.failed > EXIT_CALLS_MAX ? EXIT_CALLS_MAX + 1 : (int)run->counts.failed;
}

static int run_all(struct run *run)
{
    work(run);
    let_workers_end(run);
    summarise(run);
    int error = output_error(run->output);
    if (error && error != EPIPE)
        complain("standard output", error);
    bool trouble = jobs_are_in_trouble(run->jobs);
    tear_down(run);
    return status_of(run, error, trouble);
}

int main(int argc, char **argv)
{
    static struct run run = {.signal_fd = -1};
    int status = EXIT_TROUBLE;

    setvbuf(stderr, NULL, _IOLBF, BUFSIZ); /* a line is one write */
    if (!options_parse(argc, argv, &run.options)) {
        options_free(&run.options);
        return EXIT_TROUBLE;
    }
    if (run.options.help || run.options.version) {
        fputs(run.options.help ? options_help : "afork-run " AFORK_VERSION "\n", stdout);
        status = fflush(stdout) == EOF ? EXIT_TROUBLE : EXIT_SUCCESS;
    } else if (open_standard_descriptors(&run.options)) {
        if (set_up(&run))
            status = run_all(&run);
        else
            tear_down(&run);
    }
    options_free(&run.options);
    return status;
}
