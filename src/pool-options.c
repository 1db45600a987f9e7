/* SPDX-License-Identifier: MIT
 *
 * The options of a pool: checked, copied, and their defaults.
 */
#include "config.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "pool.h"
#include "util.h"

enum { LOAD = 2, FAILURES = 5, START_USEC = 100000, STOP_USEC = 10000000 };

int afork__pool_check_size(unsigned max, unsigned idle, unsigned load)
{
    return max > INT_MAX || idle > max || load > AFORK__LOAD_MAX ? -EINVAL : 0;
}

static int check(const struct afork_pool_options *options)
{
    const struct afork_rpc_options *rpc = &options->rpc;

    if (options->size < sizeof *options || rpc->size < sizeof *rpc || rpc->on_event ||
        rpc->on_end || rpc->data || options->retire_age < 0 ||
        (options->crash != AFORK_CRASH_FAIL && options->crash != AFORK_CRASH_RETRY_ONCE))
        return -EINVAL;
    return 0;
}

static int copy_string(const char **string)
{
    if (!*string)
        return 0;
    *string = strdup(*string);
    return *string ? 0 : -ENOMEM;
}

static void free_strings(struct afork_rpc_options *rpc)
{
    free((char *)rpc->serialiser);
    free((char *)rpc->init);
    free((char *)rpc->done);
}

/* All are copied, or set to NULL, before anything is freed. */
static int copy_strings(struct afork_rpc_options *rpc)
{
    int a = copy_string(&rpc->serialiser), b = copy_string(&rpc->init), c = copy_string(&rpc->done);

    return a ? a : b ? b : c;
}

/* A list in one block. */
static int copy_paths(const char *const **paths)
{
    size_t n = 0, size = 0;

    if (!*paths)
        return 0;
    for (; (*paths)[n]; n++)
        size += strlen((*paths)[n]) + 1;
    char **copy = malloc((n + 1) * sizeof *copy + size);
    char *text = copy ? (char *)(copy + n + 1) : NULL;
    for (size_t i = 0; copy && i < n; i++) {
        size_t len = strlen((*paths)[i]) + 1;
        memcpy(text, (*paths)[i], len);
        copy[i] = text;
        text += len;
    }
    if (copy)
        copy[n] = NULL;
    *paths = (const char *const *)copy;
    return copy ? 0 : -ENOMEM;
}

static void free_limits(struct afork_limits *limits)
{
    if (!limits)
        return;
    free((void *)limits->read_paths);
    free((void *)limits->write_paths);
    free(limits);
}

/* The template is left free, which has yet to fork. */
static int copy_limits(const struct afork_limits **ret)
{
    if (!*ret)
        return 0;
    if ((*ret)->size < sizeof **ret) {
        *ret = NULL;
        return -EINVAL;
    }
    struct afork_limits *copy = malloc(sizeof *copy);
    if (copy)
        *copy = **ret;
    *ret = copy;
    if (!copy)
        return -ENOMEM;
    copy->forks_only = true;
    int a = copy_paths(&copy->read_paths), b = copy_paths(&copy->write_paths);
    return a ? a : b;
}

static void set_defaults(struct afork_pool_options *options)
{
    if (!options->max)
        options->max = afork_cpu_count();
    if (options->single_call) {
        options->load = 1;
        options->idle = 0;
        options->retire_calls = options->retire_memory = 0;
        options->retire_age = 0;
    }
    if (!options->load)
        options->load = LOAD;
    if (!options->start)
        options->start = START_USEC;
    if (!options->stop)
        options->stop = STOP_USEC;
    if (!options->max_failures)
        options->max_failures = FAILURES;
}

int afork__pool_options_copy(struct afork_pool *pool, const struct afork_pool_options *options)
{
    static const struct afork_pool_options defaults = AFORK_POOL_OPTIONS_INIT;

    if (!options)
        options = &defaults;
    int result = check(options);
    if (result < 0)
        return result;
    pool->options = *options;
    result = copy_strings(&pool->options.rpc);
    int limits = copy_limits(&pool->options.limits);
    if (!result)
        result = limits;
    set_defaults(&pool->options);
    if (!result)
        result = afork__pool_check_size(pool->options.max, pool->options.idle, pool->options.load);
    return result;
}

void afork__pool_options_free(struct afork_pool *pool)
{
    free_strings(&pool->options.rpc);
    free_limits((struct afork_limits *)pool->options.limits);
}
