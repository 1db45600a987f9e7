/* SPDX-License-Identifier: MIT
 *
 * remote COMMAND...: calls a Perl function in perls that a command starts, as `remote ssh host perl`, two
 * at a time.
 */
#include <afork/afork.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_CALLS = 3 };

static int status;

static void must(int result)
{
    if (result < 0) {
        fprintf(stderr, "remote: %s\n", strerror(-result));
        exit(1);
    }
}

static void on_answer(const struct afork_reply *reply, void *data)
{
    struct afork_strings results = {reply->data, reply->len};
    const void *text;
    size_t len;

    if (reply->error == 0 && afork_strings_next(&results, &text, &len) == 1) {
        snprintf(data, 256, "%.*s", (int)len, (const char *)text);
        return;
    }
    if (!status)
        fprintf(stderr, "remote: %s\n", reply->message);
    status = 1;
}

int main(int argc, char **argv)
{
    struct afork_remote_options options = AFORK_REMOTE_OPTIONS_INIT;
    struct afork_pool_options pool_options = AFORK_POOL_OPTIONS_INIT;
    struct afork_poll *poll;
    struct afork_context *context;
    struct afork_process *process;
    struct afork_pool *pool;
    char answers[N_CALLS][256] = {0};

    if (argc < 2) {
        fprintf(stderr, "usage: remote COMMAND...\n");
        return 2;
    }
    argv++;
    pool_options.max = 2;
    pool_options.max_failures = 1;
    must(afork_poll_new(&poll));
    must(afork_context_new(afork_poll_loop(poll), NULL, &context));
    options.argv = (const char *const *)argv;
    must(afork_process_new_remote(context, &options, &process));
    must(afork_process_eval(
        process, "use POSIX (); sub where { join ' ', (POSIX::uname())[0, 2], @_ }", NULL));
    must(afork_pool_new(process, "where", &pool_options, &pool));
    for (int i = 0; i < N_CALLS; i++) {
        char number[8];
        struct iovec arguments[] = {{"call", 4}, {number, 1}};
        snprintf(number, sizeof number, "%d", i + 1);
        must(afork_pool_call_strings(pool, arguments, 2, NULL, on_answer, answers[i], NULL));
    }
    afork_process_unref(process);
    afork_pool_unref(pool);
    must(afork_poll_run(poll));
    for (int i = 0; i < N_CALLS && !status; i++)
        puts(answers[i]);
    afork_context_close(context);
    afork_poll_free(poll);
    return status;
}
