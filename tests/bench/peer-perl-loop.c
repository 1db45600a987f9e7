/* SPDX-License-Identifier: MIT
 *
 * The least that calls of a Perl process can take: no library, poll(), and workers whose loop does
 * nothing but send back what came. A frame is its length, 32 bits in network order, and so many
 * octets.
 *
 *     peer-perl-loop COUNT SIZE IN-FLIGHT WORKERS COMMAND...
 *
 * prints how many frames of SIZE octets came back in a second, with IN-FLIGHT on their way to and
 * from each worker, and the microseconds of processor time that this process needed for each.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <unistd.h>

#include "bench.h"

enum { WORKERS_MAX = 16, CHUNK = 65536, HEADER = 4 };

struct worker {
    int fd;
    size_t to_write; /* octets */
    size_t at;       /* where in `frames` they begin */
    char *in; /* the beginning of a frame that did not come whole; room for one, and a chunk */
    size_t in_len;
};

static struct worker workers[WORKERS_MAX];
static size_t n_workers;

/* As many frames as may be in flight, and one more: whatever is to be written is a part of them. */
static char *frames;
static size_t frame_len;

static size_t to_start, to_come;

static void open_workers(size_t size, size_t in_flight, char **command)
{
    frame_len = HEADER + size;
    frames = calloc(in_flight + 1, frame_len);
    if (!frames)
        bench_fail("frames", ENOMEM);
    uint32_t len = htonl((uint32_t)size);
    for (size_t i = 0; i <= in_flight; i++) {
        memset(frames + i * frame_len, 'x', frame_len);
        memcpy(frames + i * frame_len, &len, HEADER);
    }

    for (size_t i = 0; i < n_workers; i++) {
        workers[i] = (struct worker){.fd = bench_start_on_socket(command),
                                     .in = malloc(frame_len + CHUNK)};
        if (!workers[i].in)
            bench_fail("buffer", ENOMEM);
    }
}

static void put_out(struct worker *worker)
{
    while (worker->to_write) {
        ssize_t n = write(worker->fd, frames + worker->at, worker->to_write);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0)
            bench_fail("write", errno);
        worker->at = (worker->at + (size_t)n) % frame_len;
        worker->to_write -= (size_t)n;
    }
}

static void give(struct worker *worker, size_t n)
{
    n = MIN(n, to_start);
    to_start -= n;
    worker->to_write += n * frame_len;
    put_out(worker);
}

/* Takes the frames that came, and returns their number. */
static size_t take_frames(struct worker *worker)
{
    size_t n = 0, at = 0;

    while (worker->in_len - at >= HEADER) {
        uint32_t len;
        memcpy(&len, worker->in + at, HEADER);
        if (ntohl(len) != frame_len - HEADER)
            bench_fail("not what was sent", 0);
        if (worker->in_len - at < frame_len)
            break;
        at += frame_len;
        n++;
    }
    worker->in_len -= at;
    memmove(worker->in, worker->in + at, worker->in_len);
    return n;
}

static void take_in(struct worker *worker)
{
    ssize_t n = read(worker->fd, worker->in + worker->in_len, CHUNK);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        bench_fail("a worker ended", n < 0 ? errno : 0);
    worker->in_len += (size_t)n;
    size_t came = take_frames(worker);
    to_come -= came;
    give(worker, came);
}

static void run(size_t n, size_t in_flight)
{
    struct pollfd pollfds[WORKERS_MAX];

    to_start = to_come = n;
    for (size_t i = 0; i < n_workers; i++)
        give(&workers[i], in_flight);
    while (to_come) {
        for (size_t i = 0; i < n_workers; i++)
            pollfds[i] = (struct pollfd){
                .fd = workers[i].fd,
                .events = POLLIN | (workers[i].to_write ? POLLOUT : 0),
            };
        if (poll(pollfds, n_workers, -1) < 0)
            bench_fail("poll", errno);
        for (size_t i = 0; i < n_workers; i++) {
            if (pollfds[i].revents & POLLOUT)
                put_out(&workers[i]);
            if (pollfds[i].revents & (POLLIN | POLLHUP))
                take_in(&workers[i]);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc < 6 || bench_number(argv[4]) > WORKERS_MAX)
        bench_fail("see the head of peer-perl-loop.c for the arguments", 0);
    size_t n = bench_number(argv[1]), size = bench_number(argv[2]),
           in_flight = bench_number(argv[3]);
    n_workers = bench_number(argv[4]);
    open_workers(size, in_flight, argv + 5);

    run(n / 10 + 2 * in_flight, in_flight);
    double start = bench_now(), cpu = bench_cpu();
    run(n, in_flight);
    bench_print_calls(n, start, cpu);
    return 0;
}
