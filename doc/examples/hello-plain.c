#include <afork/afork-glib.h>
#include <glib-unix.h>
#include <unistd.h>

static gboolean on_answer(int fd, GIOCondition condition, void *loop)
{
    char text[256];
    ssize_t n = read(fd, text, sizeof text);
    g_print("%.*s\n", n > 0 ? (int)n : 0, text);
    close(fd);
    g_main_loop_quit(loop);
    return G_SOURCE_REMOVE;
}

static void on_entered(struct afork_process *worker, int fd, const struct afork_exit *failure,
                       void *loop)
{
    if (fd < 0)
        g_error("%s", failure->message);
    g_unix_fd_add(fd, G_IO_IN, on_answer, loop); /* a socket of our own main loop now */
}

int main(void)
{
    GMainLoop *main_loop = g_main_loop_new(NULL, FALSE);
    struct afork_glib_loop *loop;
    struct afork_context *context;
    struct afork_process *worker;

    if (afork_glib_loop_new(NULL, G_PRIORITY_DEFAULT, &loop) < 0 ||
        afork_context_new(afork_glib_loop_get(loop), NULL, &context) < 0 ||
        afork_process_new(context, &worker) < 0)
        return 1;
    afork_process_require(worker, "Digest::SHA", NULL);
    afork_process_eval(worker, "sub digest { syswrite $_[0], Digest::SHA::sha1_hex($_[1]) }", NULL);
    afork_process_send_arg(worker, "hello", 5);
    afork_process_run(worker, "digest", on_entered, main_loop);
    afork_process_unref(worker); /* what was asked for still happens */

    g_main_loop_run(main_loop);
    afork_context_close(context);
    afork_glib_loop_free(loop);
    g_main_loop_unref(main_loop);
    return 0;
}
