/* SPDX-License-Identifier: MIT
 *
 * confined [-f FILE] CODE...: evaluates Perl code that nobody trusts, each piece in a process of its own
 * that can do next to nothing. With FILE, the code gets a handle on it, opened here.
 */
#include <afork/afork.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void must(int result)
{
    if (result < 0) {
        fprintf(stderr, "confined: %s\n", strerror(-result));
        exit(1);
    }
}

static const char *const readable[] = {"/usr/share", NULL};
static const char *const writable[] = {NULL}; /* nothing */

static const struct afork_limits *limits_of_a_worker(void)
{
    static struct afork_limits limits = AFORK_LIMITS_INIT;

    limits.memory = 512 << 20;
    limits.cpu_seconds = 1;
    limits.no_network = limits.no_new_processes = true;
    limits.read_paths = readable;
    limits.write_paths = writable;
    return &limits;
}

static void on_answer(const struct afork_reply *reply, void *data)
{
    struct afork_strings results = {reply->data, reply->len};
    const void *text;
    size_t len;

    if (reply->error) {
        size_t line = strcspn(reply->message, "\n");
        printf("error: %.*s\n", (int)line, reply->message);
        return;
    }
    while (afork_strings_next(&results, &text, &len) == 1)
        printf("%.*s\n", (int)len, (const char *)text);
}

static void call_with_file(struct afork_pool *pool, const char *path, const char *code)
{
    struct iovec argument = {(char *)code, strlen(code)};
    struct afork_call_options how = AFORK_CALL_OPTIONS_INIT;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        must(-errno);
    how.run_timeout = 5000000;
    how.fds = &fd;
    how.n_fds = 1;
    must(afork_pool_call_strings(pool, &argument, 1, &how, on_answer, NULL, NULL));
    close(fd);
}

static void call(struct afork_pool *pool, const char *code)
{
    struct iovec argument = {(char *)code, strlen(code)};

    must(afork_pool_call_strings(pool, &argument, 1, NULL, on_answer, NULL, NULL));
}

int main(int argc, char **argv)
{
    struct afork_context_options set_up = AFORK_CONTEXT_OPTIONS_INIT;
    struct afork_pool_options options = AFORK_POOL_OPTIONS_INIT;
    struct afork_poll *poll;
    struct afork_context *context;
    struct afork_process *template;
    struct afork_pool *pool;
    const char *file = argc > 2 && !strcmp(argv[1], "-f") ? argv[2] : NULL;

    must(afork_poll_new(&poll));
    set_up.standard_output.mode = set_up.standard_error.mode = AFORK_STDIO_NULL;
    must(afork_context_new(afork_poll_loop(poll), &set_up, &context));
    must(afork_process_new(context, &template));
    must(afork_process_eval(template,
                            "sub work { my @results = eval $_[0]; die $@ if $@; @results }", NULL));
    options.max = 1;
    options.limits = limits_of_a_worker();
    options.single_call = true;
    options.spares = 2;
    must(afork_pool_new(template, "work", &options, &pool));
    afork_process_unref(template);
    for (int i = file ? 3 : 1; i < argc; i++) {
        if (file)
            call_with_file(pool, file, argv[i]);
        else
            call(pool, argv[i]);
    }
    afork_pool_unref(pool);
    must(afork_poll_run(poll));
    afork_context_close(context);
    afork_poll_free(poll);
    return 0;
}
