/* SPDX-License-Identifier: MIT
 *
 * A template that has loaded its modules once, and workers that are forked from it: SHA-1 sums of three
 * words, each by a process of its own.
 */
#include <afork/afork.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N_WORKERS = 3 };

static const char *const words[N_WORKERS] = {"a", "b", "c"};

struct worker {
    struct afork_loop *loop;
    struct afork_io *io;
    int fd;
    char answer[64];
    size_t len;
};

static void must(int result)
{
    if (result < 0) {
        fprintf(stderr, "template: %s\n", strerror(-result));
        exit(1);
    }
}

static void on_readable(unsigned events, void *data)
{
    struct worker *worker = data;
    ssize_t n = read(worker->fd, worker->answer + worker->len,
                     sizeof worker->answer - 1 - worker->len);

    if (n > 0)
        worker->len += (size_t)n;
    if (n > 0 || (n < 0 && errno == EAGAIN))
        return;
    worker->loop->ops->io_free(worker->io); /* the end: the worker has left */
    close(worker->fd);
}

static void on_entered(struct afork_process *process, int fd, const struct afork_exit *failure,
                       void *data)
{
    struct worker *worker = data;

    if (failure) {
        fprintf(stderr, "template: %s\n", failure->message);
        exit(1);
    }
    worker->fd = fd;
    must(worker->loop->ops->io_new(worker->loop, fd, AFORK_IN, on_readable, worker, &worker->io));
}

int main(void)
{
    struct afork_poll *poll;
    struct afork_context *context;
    struct afork_process *template, *worker;
    struct worker workers[N_WORKERS] = {0};

    must(afork_poll_new(&poll));
    must(afork_context_new(afork_poll_loop(poll), NULL, &context));
    for (int i = 0; i < N_WORKERS; i++)
        workers[i].loop = afork_poll_loop(poll);

    must(afork_process_new(context, &template));
    must(afork_process_require(template, "Digest::SHA", "Encode", NULL));
    must(afork_process_eval(template, "sub digest { print { $_[0] } Digest::SHA::sha1_hex($_[1]) }",
                            NULL));
    for (int i = 0; i < N_WORKERS; i++) {
        must(afork_process_fork(template, &worker));
        must(afork_process_send_arg(worker, words[i], strlen(words[i])));
        must(afork_process_run(worker, "digest", on_entered, &workers[i]));
        afork_process_unref(worker);
    }
    afork_process_unref(template);

    must(afork_poll_run(poll));
    for (int i = 0; i < N_WORKERS; i++)
        printf("%s  %s\n", workers[i].answer, words[i]);
    afork_context_close(context);
    afork_poll_free(poll);
    return 0;
}
