/* SPDX-License-Identifier: MIT
 *
 * A pre-forking server on libev: prefork-server PORT [REQUESTS]. Perl workers accept on one listening
 * socket that they share; this program never touches a connection. Each worker leaves after some
 * requests and is replaced. SIGHUP loads the Perl code anew and replaces all workers, SIGTERM ends
 * the server; both let each worker finish the request that it is at.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include <afork/afork-ev.h>

enum { WORKERS = 4 };

static const char perl[] =
    "sub serve {\n"
    "    my ($host, $listener, $generation, $requests) = @_;\n"
    "    my $select = IO::Select->new($host, $listener);\n"
    "    $SIG{PIPE} = 'IGNORE';\n"
    "    while ($requests) {\n"
    "        last if grep { $_ == $host } $select->can_read; # its end: leave\n"
    "        accept my $client, $listener or next;           # another worker was faster\n"
    "        alarm 10;                                       # for a client that says nothing\n"
    "        my $request = <$client>;\n"
    "        print $client qq(HTTP/1.0 200 OK\\r\\n\\r\\nworker $$ of generation $generation\\n);\n"
    "        alarm 0;\n"
    "        $requests--;\n"
    "    }\n"
    "}\n";

struct worker {
    struct afork_ev_channel channel; /* nothing comes through it but its end */
    int generation;
    LIST_ENTRY(worker) link;
};

static LIST_HEAD(, worker) workers; /* those that serve, or have been told to leave */
static struct afork_context *context;
static struct afork_process *template; /* of the workers to come */
static const char *requests; /* that a worker serves */
static int listener, generation, missing, status;
static ev_signal hup, term;
static ev_timer refill; /* runs while workers are missing */

static void must(int result, const char *what)
{
    if (result >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, strerror(-result));
    exit(EXIT_FAILURE);
}

/* A whole number; ends the program where `text` is none between the two. */
static long number(const char *text, long least, long most)
{
    char *end;
    long n = strtol(text, &end, 10);

    must(end == text || *end || n < least || n > most ? -EINVAL : 0, text);
    return n;
}

/* Workers of other generations than this one are not replaced. */
static void set_generation(int next)
{
    struct worker *worker;

    generation = next;
    LIST_FOREACH (worker, &workers, link)
        afork_ev_channel_shut(EV_DEFAULT_ &worker->channel);
}

/* Nothing that keeps ev_run() going stays: it returns when the last worker has left. */
static void end(void)
{
    set_generation(0);
    ev_signal_stop(EV_DEFAULT_ &hup);
    ev_signal_stop(EV_DEFAULT_ &term);
    ev_timer_stop(EV_DEFAULT_ &refill);
}

static afork_run_cb on_entered;

static void start_worker(void)
{
    struct worker *worker = calloc(1, sizeof *worker);
    struct afork_process *process;

    must(worker ? 0 : -ENOMEM, "worker");
    worker->generation = generation;
    worker->channel.data = worker;
    must(afork_process_fork(template, &process), "fork");
    must(afork_process_run(process, "serve", on_entered, worker), "run");
    afork_process_unref(process); /* from now on it is known by its channel */
}

/* A moment later, so that workers that cannot serve do not make this fork without end. */
static void on_refill(EV_P_ ev_timer *timer, int revents)
{
    for (; missing; missing--)
        start_worker();
}

/* It left, or something killed it. */
static void on_channel(EV_P_ struct afork_ev_channel *channel, int revents)
{
    struct worker *worker = channel->data;
    char octet;

    if (afork_ev_channel_read(EV_A_ channel, &octet, 1) == -EAGAIN)
        return;
    if (worker->generation == generation && !missing++) {
        ev_timer_set(&refill, 0.1, 0.);
        ev_timer_start(EV_A_ &refill);
    }
    afork_ev_channel_close(EV_A_ channel);
    LIST_REMOVE(worker, link);
    free(worker);
}

static void on_entered(struct afork_process *process, int fd, const struct afork_exit *failure,
                       void *data)
{
    struct worker *worker = data;

    if (failure) {
        fprintf(stderr, "generation %d: %s\n", worker->generation, failure->message);
        status = EXIT_FAILURE;
        end();
        free(worker);
        return;
    }
    afork_ev_channel_init(&worker->channel, on_channel, fd);
    afork_ev_channel_start(EV_DEFAULT_ &worker->channel, EV_READ);
    LIST_INSERT_HEAD(&workers, worker, link);
    if (worker->generation != generation) /* it comes too late */
        afork_ev_channel_shut(EV_DEFAULT_ &worker->channel);
}

/* The template holds what all workers have in common: code, the listening socket, arguments. */
static void reload(void)
{
    char number[16];

    set_generation(generation + 1);
    missing = 0;
    ev_timer_stop(EV_DEFAULT_ &refill);
    snprintf(number, sizeof number, "%d", generation);
    afork_process_unref(template);
    must(afork_process_new(context, &template), "new");
    must(afork_process_require(template, "IO::Select", NULL), "require");
    must(afork_process_eval(template, perl, NULL), "eval");
    must(afork_process_send_fd(template, listener), "send_fd");
    must(afork_process_send_arg(template, number, strlen(number)), "send_arg");
    must(afork_process_send_arg(template, requests, strlen(requests)), "send_arg");
    for (int i = 0; i < WORKERS; i++)
        start_worker();
}

static void on_signal(EV_P_ ev_signal *watcher, int revents)
{
    watcher == &hup ? reload() : end();
}

static int listen_on(const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)number(port, 0, UINT16_MAX))};
    socklen_t len = sizeof address;
    /* Non-blocking, since all workers see a connection, and one gets it. */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, SOMAXCONN) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) < 0)
        must(-errno, port);
    printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

int main(int argc, char **argv)
{
    struct afork_context_options options = AFORK_CONTEXT_OPTIONS_INIT;
    struct afork_ev_loop *loop;

    requests = argc > 2 ? argv[2] : "1000";
    number(requests, 1, INT_MAX);
    listener = listen_on(argc > 1 ? argv[1] : "8080");
    options.new_session = true; /* a terminal's signals are for this process */
    must(afork_ev_loop_new(EV_DEFAULT_ &loop), "loop");
    must(afork_context_new(afork_ev_loop_get(loop), &options, &context), "context");
    ev_init(&refill, on_refill);
    ev_signal_init(&hup, on_signal, SIGHUP);
    ev_signal_init(&term, on_signal, SIGTERM);
    ev_signal_start(EV_DEFAULT_ &hup);
    ev_signal_start(EV_DEFAULT_ &term);

    reload();
    ev_run(EV_DEFAULT_ 0);

    afork_process_unref(template);
    afork_context_close(context);
    afork_ev_loop_free(loop);
    close(listener);
    return status;
}
