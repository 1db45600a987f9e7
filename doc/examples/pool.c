/* SPDX-License-Identifier: MIT
 *
 * pool FILE...: MD5 sums of files, made by four Perl workers, and printed as they come. The exit
 * status is 1 if a file could not be read.
 */
#include <afork/afork.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int status;

static void must(int result)
{
    if (result < 0) {
        fprintf(stderr, "pool: %s\n", strerror(-result));
        exit(1);
    }
}

/* Called once for each file, whatever becomes of workers: from the loop, in the order in which they
 * are done. The message is Perl's where the function died. */
static void on_sum(const struct afork_reply *reply, void *path)
{
    struct afork_strings results = {reply->data, reply->len};
    const void *sum;
    size_t len;

    if (reply->error == 0 && afork_strings_next(&results, &sum, &len) == 1) {
        if (printf("%.*s  %s\n", (int)len, (const char *)sum, (const char *)path) < 0 ||
            fflush(stdout) < 0)
            must(-errno);
        return;
    }
    fprintf(stderr, "pool: %s: %s\n", (const char *)path, reply->message);
    status = 1;
}

int main(int argc, char **argv)
{
    struct afork_poll *poll;
    struct afork_context *context;
    struct afork_process *template;
    struct afork_pool *pool;
    struct afork_pool_options options = AFORK_POOL_OPTIONS_INIT;

    must(afork_poll_new(&poll));
    must(afork_context_new(afork_poll_loop(poll), NULL, &context));
    must(afork_process_new(context, &template));
    must(afork_process_require(template, "Digest::MD5", NULL));
    must(afork_process_eval(template, "sub sum { open my $file, '<', $_[0] or die qq($!\\n);"
                                      "  Digest::MD5->new->addfile($file)->hexdigest }", NULL));
    options.max = 4;
    must(afork_pool_new(template, "sum", &options, &pool));
    for (int i = 1; i < argc; i++) {
        struct iovec path = {argv[i], strlen(argv[i])};
        must(afork_pool_call_strings(pool, &path, 1, NULL, on_sum, argv[i], NULL));
    }
    afork_process_unref(template);
    afork_pool_unref(pool); /* it completes the calls it has, and ends */
    must(afork_poll_run(poll));

    afork_context_close(context);
    afork_poll_free(poll);
    return status;
}
