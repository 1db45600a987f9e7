/* SPDX-License-Identifier: MIT
 *
 * The channel of an RPC back end.
 */
#include "rpc-io.h"
#include "exit.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    GROW_START = 1024 * 1024,
    OUT_SMALL = 1024,
    COPY_MAX = 8 * 1024, /* longer strings are written from where they are */
    WRITE_MAX = 1 << 30,
    ROOM_MSEC = 20,
    ROOM_TRIES = 50,
};

void afork__rpc_die(pTHX_ SV *text)
{
    const char *data = SvPV_nolen(text);

    PerlIO_write(PerlIO_stderr(), data, SvCUR(text));
    if (!SvCUR(text) || data[SvCUR(text) - 1] != '\n')
        PerlIO_write(PerlIO_stderr(), "\n", 1);
    PerlIO_flush(PerlIO_stderr());
    my_exit(255);
}

void afork__rpc_end_copy(pTHX)
{
    afork__exit_if_unnoticed(aTHX_ true);
    my_exit(0);
}

static bool is_socket(int fd)
{
    struct stat status;

    return fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
}

/* A process that takes one call writes little. Where that lies and what came lie side by side, so
 * that it has one page for both. */
static struct {
    uint8_t out[OUT_SMALL], in[AFORK__RPC_IN_SIZE];
} buffers;

static void use_buffers(struct afork__rpc_io *io)
{
    io->in = buffers.in;
    if (io->out)
        return;
    io->out = buffers.out;
    io->out_size = sizeof buffers.out;
}

void afork__rpc_io_init(struct afork__rpc_io *io, int rfd, int wfd)
{
    *io = (struct afork__rpc_io){.rfd = rfd, .wfd = wfd, .out = io->out, .out_size = io->out_size};
    io->rfd_is_socket = is_socket(rfd);
    io->wfd_is_socket = wfd == rfd ? io->rfd_is_socket : is_socket(wfd);
    use_buffers(io);
}

void afork__rpc_io_init_socket(struct afork__rpc_io *io, int fd)
{
    *io = (struct afork__rpc_io){
        .rfd = fd,
        .wfd = fd,
        .rfd_is_socket = true,
        .wfd_is_socket = true,
        .early = true,
        .out = io->out,
        .out_size = io->out_size,
    };
    use_buffers(io);
}

static void make_blocking(struct afork__rpc_io *io)
{
    int flags = fcntl(io->rfd, F_GETFL);

    io->early = false;
    if (flags >= 0 && flags & O_NONBLOCK)
        fcntl(io->rfd, F_SETFL, flags & ~O_NONBLOCK);
}

/* Code of the user may have made the descriptor non-blocking. */
static void wait_for(int fd, short events)
{
    poll(&(struct pollfd){.fd = fd, .events = events}, 1, -1);
}

/* What is there already, or 0. */
static size_t receive_at_once(pTHX_ struct afork__rpc_io *io, void *data, size_t room)
{
    io->may_wait = false;
    if (!io->rfd_is_socket || PL_sig_pending)
        return 0;
    ssize_t n = afork__fd_receive_once(io->rfd, data, room, &io->fds, MSG_DONTWAIT);
    return n > 0 ? (size_t)n : 0;
}

/* At least one octet, or 0 at end of file. Handlers of the user run when a signal interrupts. */
static size_t receive(pTHX_ struct afork__rpc_io *io, void *data, size_t room)
{
    size_t there = io->may_wait ? receive_at_once(aTHX_ io, data, room) : 0;

    if (there)
        return there;
    afork__rpc_io_flush(aTHX_ io);
    if (io->early)
        make_blocking(io);
    while (!io->ended) {
        PERL_ASYNC_CHECK(); /* a signal that came before would interrupt nothing */
        if (io->copied)     /* by its handler */
            afork__rpc_end_copy(aTHX);
        ssize_t n;
        if (io->rfd_is_socket)
            n = afork__fd_receive_once(io->rfd, data, room, &io->fds, 0);
        else if ((n = read(io->rfd, data, room)) < 0)
            n = -errno;
        if (n > 0)
            return (size_t)n;
        if (n == -EINTR)
            continue;
        if (n == -EAGAIN) {
            wait_for(io->rfd, POLLIN);
        } else if (n == 0 || n == -ECONNRESET) {
            io->ended = true;
        } else {
            afork__rpc_die(aTHX_ newSVpvf("AFork::RPC: read error (%s)\n", Strerror((int)-n)));
        }
    }
    return 0;
}

bool afork__rpc_io_need(pTHX_ struct afork__rpc_io *io, size_t n)
{
    while (io->end - io->start < n) {
        if (io->start == io->end) {
            io->start = io->end = 0;
        } else if (io->start + n > AFORK__RPC_IN_SIZE) {
            memmove(io->in, io->in + io->start, io->end - io->start);
            io->end -= io->start;
            io->start = 0;
        }
        size_t got = receive(aTHX_ io, io->in + io->end, AFORK__RPC_IN_SIZE - io->end);
        if (!got)
            return false;
        io->end += got;
    }
    return true;
}

bool afork__rpc_io_read(pTHX_ struct afork__rpc_io *io, void *data, size_t n)
{
    size_t done = io->end - io->start;

    if (done > n)
        done = n;
    memcpy(data, io->in + io->start, done);
    io->start += done;
    while (done < n) {
        size_t got = receive(aTHX_ io, (char *)data + done, n - done);
        if (!got)
            return false;
        done += got;
    }
    return true;
}

bool afork__rpc_io_skip(pTHX_ struct afork__rpc_io *io, uint64_t n)
{
    while (n) {
        if (!afork__rpc_io_need(aTHX_ io, 1))
            return false;
        size_t part = io->end - io->start;
        if (part > n)
            part = (size_t)n;
        io->start += part;
        n -= part;
    }
    return true;
}

bool afork__rpc_io_read_sv(pTHX_ struct afork__rpc_io *io, SV *sv, size_t n)
{
    size_t step = GROW_START;

    while (n) {
        size_t part = n < step ? n : step;
        char *start = SvGROW(sv, SvCUR(sv) + part + 1);
        if (!afork__rpc_io_read(aTHX_ io, start + SvCUR(sv), part))
            return false;
        SvCUR_set(sv, SvCUR(sv) + part);
        n -= part;
        step = SvCUR(sv);
    }
    *SvEND(sv) = '\0';
    return true;
}

/* The kernel has no room, and does not say when. */
static bool is_for_now(int error)
{
    return error == ENOBUFS || error == ENOMEM || error == ETOOMANYREFS;
}

static void pause_for_room(void)
{
    poll(NULL, 0, ROOM_MSEC);
}

/* The host is gone, so there is nobody to tell. */
__attribute__((noreturn))
static void write_failed(pTHX_ struct afork__rpc_io *io, int error)
{
    io->out_len = 0;
    if (error == EPIPE || error == ECONNRESET)
        my_exit(0);
    afork__rpc_die(aTHX_ newSVpvf("AFork::RPC: write error (%s)\n", Strerror(error)));
}

/* Writes what is in the buffer, and `data` after it. */
static void write_all(pTHX_ struct afork__rpc_io *io, const void *data, size_t n)
{
    struct iovec iov[2] = {{io->out, io->out_len}, {(void *)data, n}};

    while (iov[0].iov_len || iov[1].iov_len) {
        size_t first = iov[0].iov_len ? 0 : 1, n_iov = 2 - first;
        ssize_t sent;
        if (io->wfd_is_socket)
            sent = afork__fd_send(io->wfd, iov + first, n_iov - !iov[1].iov_len, NULL, 0, 0);
        else if ((sent = writev(io->wfd, iov + first, (int)n_iov)) < 0)
            sent = -errno;
        if (sent == -EAGAIN) {
            wait_for(io->wfd, POLLOUT);
        } else if (sent < 0 && is_for_now((int)-sent)) {
            pause_for_room();
        } else if (sent < 0 && sent != -EINTR) {
            write_failed(aTHX_ io, (int)-sent);
        }
        if (sent <= 0)
            continue;
        for (size_t i = first; i < 2; i++) {
            size_t part = (size_t)sent < iov[i].iov_len ? (size_t)sent : iov[i].iov_len;
            iov[i].iov_base = (char *)iov[i].iov_base + part;
            iov[i].iov_len -= part;
            sent -= (ssize_t)part;
        }
    }
    io->out_len = 0;
}

static void make_room(pTHX_ struct afork__rpc_io *io, size_t n)
{
    if (io->out == buffers.out) {
        Newx(io->out, AFORK__RPC_OUT_SIZE, uint8_t);
        memcpy(io->out, buffers.out, io->out_len);
        io->out_size = AFORK__RPC_OUT_SIZE;
    }
    if (n > io->out_size - io->out_len)
        afork__rpc_io_flush(aTHX_ io);
}

void afork__rpc_io_put(pTHX_ struct afork__rpc_io *io, const void *data, size_t n)
{
    if (n <= COPY_MAX && n > io->out_size - io->out_len)
        make_room(aTHX_ io, n);
    if (n > COPY_MAX) {
        for (size_t done = 0; done < n;) {
            size_t part = n - done < WRITE_MAX ? n - done : WRITE_MAX;
            write_all(aTHX_ io, (const char *)data + done, part);
            done += part;
        }
        return;
    }
    memcpy(io->out + io->out_len, data, n);
    io->out_len += n;
}

int afork__rpc_io_put_fds(pTHX_ struct afork__rpc_io *io, const void *data, size_t n,
                          const int *fds, size_t n_fds)
{
    struct iovec iov = {(void *)data, n};
    ssize_t sent;

    afork__rpc_io_flush(aTHX_ io);
    for (int tries = ROOM_TRIES; (sent = afork__fd_send(io->wfd, &iov, 1, fds, n_fds, 0)) < 0;) {
        if (sent == -EPIPE || sent == -ECONNRESET)
            write_failed(aTHX_ io, (int)-sent);
        if (sent == -EAGAIN)
            wait_for(io->wfd, POLLOUT);
        else if (is_for_now((int)-sent) && tries--)
            pause_for_room();
        else
            return (int)-sent;
    }
    afork__rpc_io_put(aTHX_ io, (const char *)data + sent, n - (size_t)sent);
    return 0;
}

void afork__rpc_io_flush(pTHX_ struct afork__rpc_io *io)
{
    if (io->out_len)
        write_all(aTHX_ io, NULL, 0);
}

void afork__rpc_io_copied(struct afork__rpc_io *io)
{
    io->copied = true;
    io->out_len = 0;
}

void afork__rpc_io_shutdown(pTHX_ struct afork__rpc_io *io)
{
    afork__rpc_io_flush(aTHX_ io);
    if (io->wfd_is_socket)
        shutdown(io->wfd, SHUT_WR);
}
