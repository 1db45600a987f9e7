#include <afork/afork-glib.h>
#include <err.h>
#include <stdio.h>

static void on_answer(GObject *rpc, GAsyncResult *result, gpointer loop)
{
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) answer = gafork_callable_call_strv_finish(GAFORK_CALLABLE(rpc), result, &error);
    if (!answer)
        errx(1, "%s", error->message);
    if (puts(answer[0]) < 0 || fflush(stdout) < 0)
        err(1, "standard output");
    g_main_loop_quit(loop);
}

int main(void)
{
    const char *const modules[] = {"Digest::SHA", NULL}, *const arguments[] = {"hello", NULL};
    g_autoptr(GError) error = NULL;
    g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
    g_autoptr(GAforkProcess) worker = gafork_process_new(NULL, &error);
    if (!worker || !gafork_process_require(worker, modules, &error))
        errx(1, "%s", error->message);
    g_autoptr(GAforkRpc) rpc = gafork_rpc_new(worker, "Digest::SHA::sha1_hex", NULL, &error);
    if (!rpc)
        errx(1, "%s", error->message);
    gafork_callable_call_strv_async(GAFORK_CALLABLE(rpc), arguments, NULL, NULL, on_answer, loop);
    g_main_loop_run(loop);
    return 0;
}
