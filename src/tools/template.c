/* SPDX-License-Identifier: MIT
 *
 * See template.h. The user's code is put together with ours as text, so that it sees none of our
 * variables, and that variables of one piece are there in the next.
 */
#include "template.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

static const char add_directories[] = "unshift @INC, @_";

static const char import[] = "$_[0]->import(@_[1 .. $#_])";

/* A server tells its standard error what it dies of, which we are about to say ourselves. Until all
 * is prepared, that is kept back; other warnings are not. */
static const char quiet[] = "$SIG{__WARN__} = $AFork::Run::quiet"
                            " = sub { warn @_ if $_[0] !~ /^\\[[^\\]]*\\] ERROR: / }";
static const char quiet_end[] =
    "delete $SIG{__WARN__} if ($SIG{__WARN__} // '') eq $AFork::Run::quiet;"
    " undef $AFork::Run::quiet";

/* The function may be one that is made when it is called. */
static const char check_function[] =
    "no strict 'refs';"
    " my ($package) = $_[0] =~ /(.*)(?:::|')/s;"
    " if (!defined &{$_[0]} && !defined &{($package // 'main') . '::AUTOLOAD'}) {"
    "  my $file = ($package // '') =~ s{::|'}{/}gr . '.pm';"
    "  my $hint = $package && !$INC{$file} ? \"; is -M $package missing?\" : '';"
    "  die qq{there is no function $_[0]$hint\\n};"
    " }";

/* JSON gives the arguments of the line only. */
static const char prepend_arguments[] =
    "no strict 'refs';"
    " my ($name, @first) = @_;"
    " my $function = \\&$name;"
    " *AFork::Run::call = sub { unshift @_, @first; goto &$function }";

/* On another host it is the command that is killed for a call that takes too long; what it has
 * started there, and computes without ever looking at us, is to end as well. */
static const char set_alarm[] = "no strict 'refs';"
                                " my ($name, $seconds) = @_;"
                                " my $function = \\&$name;"
                                " *AFork::Run::timed = sub {"
                                "  alarm $seconds;"
                                "  my ($good, @results) = eval { (1, &$function) };"
                                "  my $error = $@;"
                                "  alarm 0;"
                                "  $good or die $error;"
                                "  @results;"
                                " }";

/* So that not each worker loads it. */
static const char load_json[] = "eval { require JSON::XS } or require JSON::PP";

static const char *function_name(const struct options *options)
{
    if (options->json && options->n_args)
        return "AFork::Run::call";
    return options->code ? "AFork::Run::code" : options->function;
}

const char *template_function(const struct options *options, const char *host)
{
    return host && options->timeout ? "AFork::Run::timed" : function_name(options);
}

const char *template_init(const struct options *options)
{
    return options->init ? "AFork::Run::init" : NULL;
}

/* ---- Commands ---- */

static int require_module(struct afork_process *process, const char *module)
{
    bool imports = *module++ == 'M';
    size_t len = strcspn(module, "=");
    struct buffer name = {0};

    buffer_add(&name, module, len);
    buffer_add(&name, "", 1);
    int result = afork_process_require(process, name.data, (char *)NULL);
    buffer_free(&name);
    if (result < 0 || !imports)
        return result;

    /* The code, the module, and what is to be imported. */
    struct iovec strings[64] = {{(void *)import, strlen(import)}, {(void *)module, len}};
    size_t n = 2;
    for (const char *rest = module + len; *rest; n++) {
        if (n == sizeof strings / sizeof *strings)
            return -E2BIG;
        size_t next = strcspn(++rest, ",");
        strings[n] = (struct iovec){(void *)rest, next};
        rest += next;
    }
    return afork_process_eval_iov(process, strings, n);
}

/* `code`, with `first`, unless it is NULL, and the list as its arguments. */
static int eval_with(struct afork_process *process, const char *code, const char *first,
                     const char *const *list, size_t n)
{
    struct iovec *strings = allocate((n + 2) * sizeof *strings);
    size_t count = 0;

    strings[count++] = (struct iovec){(void *)code, strlen(code)};
    if (first)
        strings[count++] = (struct iovec){(void *)first, strlen(first)};
    for (size_t i = 0; i < n; i++)
        strings[count++] = (struct iovec){(void *)list[i], strlen(list[i])};
    int result = afork_process_eval_iov(process, strings, count);
    free(strings);
    return result;
}

static void add_text(struct buffer *text, const char *more)
{
    buffer_add(text, more, strlen(more));
}

/* The pieces of code, as one: what is executed once, and functions. */
static int eval_code(struct afork_process *process, const struct options *options)
{
    struct buffer text = {0};
    char head[96];

    if (options->begin) {
        add_text(&text, "#line 1 \"--begin\"\n");
        add_text(&text, options->begin);
        add_text(&text, ";\n");
    }
    if (options->init) { /* the back end tells standard error as well */
        add_text(&text, "*AFork::Run::init = sub { my $good = eval {\n#line 1 \"--init\"\n");
        add_text(&text, options->init);
        add_text(&text, "; 1 }; return if $good || $@ eq ''; my $error = $@;"
                        " open STDERR, '>', '/dev/null'; die $error };\n");
    }
    if (options->code) {
        snprintf(head, sizeof head,
                 "*AFork::Run::code = sub { local $_ = $_[%d];\n#line 1 \"-e\"\n", options->n_args);
        add_text(&text, head);
        add_text(&text, options->code);
        add_text(&text, "};\n");
    }
    if (!text.len)
        return 0;
    struct iovec string = {text.data, text.len};
    int result = afork_process_eval_iov(process, &string, 1);
    buffer_free(&text);
    return result;
}

/* Here already, not for each worker, so that what is wrong is told once. What is loaded has been
 * read. */
static int confine(struct afork_process *process, const struct options *options)
{
    struct afork_limits limits = AFORK_LIMITS_INIT;

    if (!options->memory && !options->no_network && !options->read_paths && !options->write_paths)
        return 0;
    limits.memory = options->memory;
    limits.no_network = options->no_network;
    limits.read_paths = (const char *const *)options->read_paths;
    limits.write_paths = (const char *const *)options->write_paths;
    return afork_process_set_limits(process, &limits);
}

static int prepare(struct afork_process *process, const struct options *options, bool remote)
{
    int result = afork_process_eval(process, quiet, (char *)NULL);
    size_t n = 0;

    while (options->include_dirs && options->include_dirs[n])
        n++;
    if (!result && n && remote)
        result = eval_with(process, add_directories, NULL, options->include_dirs, n);
    for (size_t i = 0; !result && options->modules && options->modules[i]; i++)
        result = require_module(process, options->modules[i]);
    if (!result)
        result = eval_code(process, options);
    if (!result && options->function)
        result = eval_with(process, check_function, options->function, NULL, 0);
    if (!result && options->json)
        result = eval_with(process, load_json, NULL, NULL, 0);
    if (!result && options->json && options->n_args)
        result = eval_with(process, prepend_arguments,
                           options->code ? "AFork::Run::code" : options->function,
                           (const char *const *)options->args, (size_t)options->n_args);
    if (!result && remote && options->timeout) {
        char seconds[32];
        snprintf(seconds, sizeof seconds, "%lld", (long long)(options->timeout / 1000000 + 2));
        result = afork_process_eval(process, set_alarm, function_name(options), seconds,
                                    (char *)NULL);
    }
    if (!result)
        result = confine(process, options);
    return result < 0 ? result : afork_process_eval(process, quiet_end, (char *)NULL);
}

/* ---- Processes ---- */

/* The words of --rsh, the host, and a perl. */
static int new_remote(struct afork_context *context, const char *rsh, const char *host,
                      struct afork_process **ret)
{
    struct afork_remote_options options = AFORK_REMOTE_OPTIONS_INIT;
    const char *argv[64];
    size_t n = 0;
    char *words = strdup(rsh), *rest = words, *word;

    if (!words)
        return -ENOMEM;
    while (n < 60 && (word = strsep(&rest, " ")))
        if (*word)
            argv[n++] = word;
    argv[n++] = host;
    argv[n++] = "perl";
    argv[n] = NULL;
    options.argv = argv;
    int result = afork_process_new_remote(context, &options, ret);
    free(words);
    return result;
}

int template_new(struct afork_context *context, const struct options *options, const char *host,
                 struct afork_process **ret)
{
    struct afork_process *process;
    int result = host ? new_remote(context, options->rsh, host, &process)
                      : afork_process_new_exec(context, &process);

    if (result < 0)
        return result;
    if (!host)
        result = afork_process_end_with_host(process);
    if (!result)
        result = prepare(process, options, host != NULL);
    if (result < 0 && result != -ESRCH) { /* one that has ended tells why by its notice */
        afork_process_close(process);
        afork_process_unref(process);
        return result;
    }
    *ret = process;
    return 0;
}
