#include <afork/afork-glib.h>
#include <errno.h>
#include <glib-unix.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void fail(const char *message)
{
    g_printerr("hello-plain: %s\n", message);
    exit(EXIT_FAILURE);
}

static void must(int result)
{
    if (result < 0)
        fail(g_strerror(-result));
}

static gboolean on_answer(int fd, GIOCondition condition, void *loop)
{
    char text[256];
    ssize_t n = read(fd, text, sizeof text);
    if (n <= 0)
        fail("no answer");
    if (printf("%.*s\n", (int)n, text) < 0 || fflush(stdout) < 0)
        fail(g_strerror(errno));
    close(fd);
    g_main_loop_quit(loop);
    return G_SOURCE_REMOVE;
}

static void on_entered(struct afork_process *worker, int fd, const struct afork_exit *failure,
                       void *loop)
{
    if (fd < 0)
        fail(failure->message);
    g_unix_fd_add(fd, G_IO_IN, on_answer, loop); /* a socket of our own main loop now */
}

int main(void)
{
    GMainLoop *main_loop = g_main_loop_new(NULL, FALSE);
    struct afork_glib_loop *loop;
    struct afork_context *context;
    struct afork_process *worker;

    must(afork_glib_loop_new(NULL, G_PRIORITY_DEFAULT, &loop));
    must(afork_context_new(afork_glib_loop_get(loop), NULL, &context));
    must(afork_process_new(context, &worker));
    must(afork_process_require(worker, "Digest::SHA", NULL));
    must(afork_process_eval(worker, "sub digest { syswrite $_[0], Digest::SHA::sha1_hex($_[1]) }",
                            NULL));
    must(afork_process_send_arg(worker, "hello", 5));
    must(afork_process_run(worker, "digest", on_entered, main_loop));
    afork_process_unref(worker); /* what was asked for still happens */

    g_main_loop_run(main_loop);
    afork_context_close(context);
    afork_glib_loop_free(loop);
    g_main_loop_unref(main_loop);
    return EXIT_SUCCESS;
}
