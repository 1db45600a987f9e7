/* SPDX-License-Identifier: MIT
 *
 * A limit rather than a rival: the least that a fork server with a Perl interpreter can do. The
 * server is C in a process whose interpreter idles; each octet it receives brings a socket, and it
 * forks a child that calls one Perl sub, formed before the fork, and leaves with _exit(): no
 * protocol, no reports, no end of Perl.
 *
 *     peer-libperl spawn COUNT IN-FLIGHT   processes a second, until the host saw the end of file
 *     peer-libperl memory COUNT            keeps COUNT idle children until the end of its input
 *     peer-libperl latency COUNT PAUSE     us from the request to the first octet of the sub, COUNT times
 *                                          with PAUSE us between them
 */
#define PERL_NO_GET_CONTEXT
#include <EXTERN.h>
#include <perl.h>

#include <poll.h>
#include <sys/socket.h>

#include "bench.h"
#include "fork-server.h"

#define IN_FLIGHT_MAX 64
#define WARM_UP 5

/* ---- the server ---- */

struct worker {
    PerlInterpreter *perl;
    CV *sub;
};

/* The child has its socket as standard input, which Perl has a handle for already. */
static void child(int channel, void *data)
{
    struct worker *worker = data;
    dTHXa(worker->perl);

    if (dup2(channel, STDIN_FILENO) < 0)
        _exit(1);
    close(channel);

    dSP;
    PUSHMARK(SP);
    call_sv((SV *)worker->sub, G_VOID | G_DISCARD | G_NOARGS);
    _exit(0);
}

static noreturn void server(int argc, char **argv, char **env, const char *name, int socket)
{
    static char option[] = "-e";
    static char code[] = "sub leave { } sub idle { sysread STDIN, my $octet, 1 } "
                         "open O, '>&=', 0; sub octet { syswrite O, 'x' }";
    char *program[] = {argv[0], option, code, NULL};

    PERL_SYS_INIT3(&argc, &argv, &env);
    PerlInterpreter *my_perl = perl_alloc();
    PERL_SET_CONTEXT(my_perl);
    perl_construct(my_perl);
    if (perl_parse(my_perl, NULL, 3, program, env) || perl_run(my_perl))
        bench_fail("perl", 0);
    fork_server(socket, child, &(struct worker){my_perl, get_cv(name, 0)});
}

/* ---- the host ---- */

/* Closes the channel of a child that ended, and starts the next one in its place. */
static bool turn(int server, struct pollfd *channel, size_t *to_start)
{
    char octet;

    if (!channel->revents || read(channel->fd, &octet, 1) != 0)
        return false;
    close(channel->fd);
    channel->fd = -1;
    if (*to_start) {
        channel->fd = fork_server_request(server);
        --*to_start;
    }
    return true;
}

static void spawn(int server, size_t n, size_t in_flight)
{
    struct pollfd channels[IN_FLIGHT_MAX];
    size_t to_start = n - in_flight;

    for (size_t i = 0; i < in_flight; i++)
        channels[i] = (struct pollfd){.fd = fork_server_request(server), .events = POLLIN};
    while (n) {
        if (poll(channels, in_flight, -1) < 0)
            bench_fail("poll", errno);
        for (size_t i = 0; i < in_flight; i++)
            n -= turn(server, &channels[i], &to_start);
    }
}

static void hold(int server, size_t n)
{
    for (size_t i = 0; i < n; i++)
        fork_server_request(server);
    puts("ready");
    fflush(stdout);
    while (getchar() != EOF)
        continue;
}

static double first_octet(int server)
{
    double start = bench_now();
    struct pollfd channel = {.fd = fork_server_request(server), .events = POLLIN};
    char octet;

    if (poll(&channel, 1, -1) != 1 || read(channel.fd, &octet, 1) != 1)
        bench_fail("no octet", errno);
    double end = bench_now();
    close(channel.fd);
    return end - start;
}

static void latency(int server, size_t n, size_t pause)
{
    double *samples = calloc(n, sizeof *samples);

    for (size_t i = 0; i < WARM_UP; i++)
        first_octet(server);
    for (size_t i = 0; i < n; i++) {
        samples[i] = first_octet(server);
        if (pause)
            usleep((useconds_t)pause);
    }
    bench_print_samples(samples, n);
    free(samples);
}

int main(int argc, char **argv, char **env)
{
    bool spawns = argc == 4 && !strcmp(argv[1], "spawn");
    bool waits = argc == 4 && !strcmp(argv[1], "latency");
    if (!spawns && !waits && !(argc == 3 && !strcmp(argv[1], "memory")))
        bench_fail("see the head of peer-libperl.c for the arguments", 0);
    size_t count = bench_number(argv[2]);

    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        bench_fail("socketpair", errno);
    pid_t pid = fork();
    if (pid < 0)
        bench_fail("fork", errno);
    if (!pid) {
        close(pair[0]);
        server(argc, argv, env, spawns ? "leave" : waits ? "octet" : "idle", pair[1]);
    }
    close(pair[1]);

    if (spawns) {
        spawn(pair[0], WARM_UP, 1);
        double start = bench_now();
        size_t in_flight = bench_number(argv[3]);
        if (!in_flight || in_flight > IN_FLIGHT_MAX || count < in_flight)
            bench_fail("bad number in flight", 0);
        spawn(pair[0], count, in_flight);
        bench_print_rate(count, start);
    } else if (waits) {
        latency(pair[0], count, bench_number(argv[3]));
    } else {
        hold(pair[0], count);
    }
    return 0;
}
