/* SPDX-License-Identifier: MIT
 *
 * Feeds what a worker may send to an rpc of the host: frames of either kind, string lists in them.
 * The worker is a socket pair, adopted as a server of the original kind, so that all of it is
 * reached through the public calls.
 *
 * The first octet of the input chooses frames, back end and how the rest is cut into pieces.
 * Whatever comes, each call completes once, the end is told once and last, and nothing is left.
 *
 * With libFuzzer this is its target; without, a program that runs the files and folders that it is
 * given once, so that what was found stays found.
 */
#include <afork/afork.h>
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CALLS = 3, INPUT_MOST = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    int replies, ends;
    size_t octets; /* all is looked at, for the sanitizers */
};

static void look_at(struct seen *seen, const void *data, size_t len)
{
    struct afork_strings list = {data, len};
    const void *string;
    size_t size;

    while (afork_strings_next(&list, &string, &size) > 0)
        for (size_t i = 0; i < size; i++)
            seen->octets += ((const uint8_t *)string)[i];
}

static void on_reply(const struct afork_reply *reply, void *data)
{
    struct seen *seen = data;

    assert(!seen->ends);
    assert(reply->error <= 0 && reply->message);
    seen->replies++;
    look_at(seen, reply->data, reply->len);
    look_at(seen, reply->message, strlen(reply->message));
}

static void on_event(struct afork_rpc *rpc, const struct afork_event *event, void *data)
{
    (void)rpc;
    look_at(data, event->data, event->len);
}

static void on_end(struct afork_rpc *rpc, int error, const char *message,
                   const struct afork_exit *exit, void *data)
{
    struct seen *seen = data;

    (void)rpc;
    (void)exit;
    assert(error <= 0 && message);
    seen->ends++;
}

/* Reads away what the host says. */
static void swallow(int fd)
{
    char octets[65536];

    while (recv(fd, octets, sizeof octets, MSG_DONTWAIT) > 0) {
    }
}

static void feed(struct afork_poll *poll, int fd, const uint8_t *data, size_t size, size_t piece)
{
    while (size) {
        size_t part = size < piece ? size : piece;
        ssize_t n = send(fd, data, part, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) {
            data += n;
            size -= (size_t)n;
        } else if (n < 0 && errno != EAGAIN) {
            break;
        }
        swallow(fd);
        afork_poll_turn(poll, 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen seen = {0};
    struct afork_rpc_options options = AFORK_RPC_OPTIONS_INIT;
    struct afork_poll *poll;
    struct afork_context *context;
    struct afork_process *process;
    struct afork_rpc *rpc;
    int pair[2];

    if (!size || size > INPUT_MOST)
        return 0;
    options.frames = data[0] & 1 ? AFORK_RPC_FRAMES_ORIGINAL : AFORK_RPC_FRAMES_OWN;
    options.async = data[0] & 2;
    options.reply_max = 1 << 20;
    options.on_event = on_event;
    options.on_end = on_end;
    options.data = &seen;
    if (afork_poll_new(&poll) || afork_context_new(afork_poll_loop(poll), NULL, &context) ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) ||
        afork_process_new_from_fd(context, pair[0], AFORK_PEER_ORIGINAL, &process) ||
        afork_rpc_new(process, "f", &options, &rpc))
        abort();
    for (int i = 0; i < CALLS; i++)
        if (afork_rpc_call(rpc, "\1x", 2, NULL, on_reply, &seen, NULL))
            abort();
    for (int i = 0; i < 4; i++) { /* until it is told of its channel, and the calls are written */
        swallow(pair[1]);
        afork_poll_turn(poll, 0);
    }
    feed(poll, pair[1], data + 1, size - 1, data[0] & 4 ? 1 + ((size_t)data[0] >> 4) : SIZE_MAX);
    close(pair[1]);
    for (int turns = 0; !seen.ends; turns++) {
        assert(turns < 10000);
        afork_poll_turn(poll, 1000);
    }
    assert(seen.replies == CALLS && seen.ends == 1);
    afork_rpc_unref(rpc);
    afork_process_unref(process);
    afork_context_close(context);
    afork_poll_free(poll);
    return 0;
}

#ifndef WITH_LIBFUZZER

static void run_file(int directory, const char *name)
{
    static uint8_t octets[INPUT_MOST];
    int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, octets, sizeof octets);

    if (size < 0) {
        perror(name);
        exit(1);
    }
    close(fd);
    LLVMFuzzerTestOneInput(octets, (size_t)size);
}

int main(int argc, char **argv)
{
    int n = 0;

    for (int i = 1; i < argc; i++) {
        DIR *directory = opendir(argv[i]);
        struct dirent *entry;
        while (directory && (entry = readdir(directory)))
            if (entry->d_name[0] != '.') {
                run_file(dirfd(directory), entry->d_name);
                printf("ok %d - %s\n", ++n, entry->d_name);
            }
        if (directory)
            closedir(directory);
    }
    printf("1..%d\n", n);
    return n ? 0 : 1;
}

#endif
