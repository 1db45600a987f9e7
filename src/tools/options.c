/* SPDX-License-Identifier: MIT
 *
 * Options by getopt_long(), which finds them behind the function as well.
 */
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

const char options_help[] =
    "Usage: afork-run [OPTION]... FUNCTION [ARGUMENT]... <LIST\n"
    "       afork-run [OPTION]... -e CODE [ARGUMENT]... <LIST\n"
    "Calls a Perl function for each line of a list, in several workers, and prints\n"
    "what it returns: afork-run -M My::Thumb My::Thumb::make -j4 <files\n"
    "\n"
    "What is called:\n"
    "  -M, --module=MODULE[=NAME,...]\n"
    "                         load a module and import from it, as perl does\n"
    "  -m MODULE              load a module, import nothing\n"
    "  -I, --include=DIR      look for modules in DIR first\n"
    "  -e, --code=CODE        the body of the function: $_ is the line, @_ the\n"
    "                         ARGUMENTs and the line\n"
    "      --begin=CODE       run once, before there are workers; what it declares\n"
    "                         with \"my\" is there in -e\n"
    "      --init=CODE        run in each worker before its first call\n"
    "\n"
    "The list:\n"
    "  -a, --arg-file=FILE    read FILE, not standard input\n"
    "  -0, --null             lines end with NUL\n"
    "      --json             each line is a JSON array of arguments, or another JSON\n"
    "                         value; each call prints a JSON array\n"
    "      --skip-empty       no calls for empty lines\n"
    "\n"
    "The workers:\n"
    "  -j, --jobs=N           this many at a time, on each host; default: as many as\n"
    "                         there are processors to use\n"
    "      --single           a process for each call\n"
    "  -t, --timeout=SECONDS  kill a worker that takes longer over a call\n"
    "      --retries=N        make a call that failed up to N times more\n"
    "      --halt=WHEN[,fail=N]\n"
    "                         after N failed calls, 1 by default, \"soon\": make no\n"
    "                         more, or \"now\": kill those under way; \"never\", the\n"
    "                         default, is to go on\n"
    "      --memory=SIZE      address space of a worker, with K, M or G\n"
    "      --no-network       workers reach no other machine or program\n"
    "      --read=PATH, --write=PATH\n"
    "                         workers read, or write, nothing but what is below\n"
    "      --ssh=HOST         workers on HOST, or here, if it is \":\"; for more hosts,\n"
    "                         more than once\n"
    "      --rsh=COMMAND      instead of ssh\n"
    "      --pool-load=N      calls that a worker is given at a time; default: the\n"
    "                         more, the shorter they are\n"
    "      --queue=N          calls that are read ahead of the workers\n"
    "\n"
    "What is printed:\n"
    "  -k, --keep-order       results in the order of the list, the default\n"
    "  -u, --unordered        results as they come\n"
    "      --hold=SIZE        results that may wait for earlier ones; default: 64M\n"
    "      --tag              the line and a tab before each result\n"
    "      --print0           a NUL behind each result\n"
    "  -q, --quiet            no results\n"
    "      --joblog=FILE      a line about each call, as GNU parallel has it\n"
    "      --progress         a bar, even where standard error is no terminal\n"
    "  -v, --verbose          what becomes of workers, and a summary\n"
    "  -h, --help             this\n"
    "  -V, --version          the version\n"
    "\n"
    "Exit status: 0 if all calls were good; the number of those that failed, up to\n"
    "100; 101 if more did; 125 if nothing could be started, read or written, or for\n"
    "wrong usage; 128 + N after signal N.\n";

enum {
    OPTION_BEGIN = UCHAR_MAX + 1,
    OPTION_HALT,
    OPTION_HOLD,
    OPTION_INIT,
    OPTION_JOBLOG,
    OPTION_JSON,
    OPTION_MEMORY,
    OPTION_NO_NETWORK,
    OPTION_POOL_LOAD,
    OPTION_PRINT0,
    OPTION_PROGRESS,
    OPTION_QUEUE,
    OPTION_READ,
    OPTION_RETRIES,
    OPTION_RSH,
    OPTION_SINGLE,
    OPTION_SKIP_EMPTY,
    OPTION_SSH,
    OPTION_TAG,
    OPTION_WRITE,
};

static const char short_options[] = "M:m:I:e:a:0j:t:kuqvhV";

static const struct option long_options[] = {
    {"module", required_argument, NULL, 'M'},
    {"include", required_argument, NULL, 'I'},
    {"code", required_argument, NULL, 'e'},
    {"begin", required_argument, NULL, OPTION_BEGIN},
    {"init", required_argument, NULL, OPTION_INIT},
    {"arg-file", required_argument, NULL, 'a'},
    {"null", no_argument, NULL, '0'},
    {"json", no_argument, NULL, OPTION_JSON},
    {"skip-empty", no_argument, NULL, OPTION_SKIP_EMPTY},
    {"jobs", required_argument, NULL, 'j'},
    {"single", no_argument, NULL, OPTION_SINGLE},
    {"timeout", required_argument, NULL, 't'},
    {"retries", required_argument, NULL, OPTION_RETRIES},
    {"halt", required_argument, NULL, OPTION_HALT},
    {"memory", required_argument, NULL, OPTION_MEMORY},
    {"no-network", no_argument, NULL, OPTION_NO_NETWORK},
    {"read", required_argument, NULL, OPTION_READ},
    {"write", required_argument, NULL, OPTION_WRITE},
    {"ssh", required_argument, NULL, OPTION_SSH},
    {"rsh", required_argument, NULL, OPTION_RSH},
    {"pool-load", required_argument, NULL, OPTION_POOL_LOAD},
    {"queue", required_argument, NULL, OPTION_QUEUE},
    {"keep-order", no_argument, NULL, 'k'},
    {"unordered", no_argument, NULL, 'u'},
    {"hold", required_argument, NULL, OPTION_HOLD},
    {"tag", no_argument, NULL, OPTION_TAG},
    {"print0", no_argument, NULL, OPTION_PRINT0},
    {"quiet", no_argument, NULL, 'q'},
    {"joblog", required_argument, NULL, OPTION_JOBLOG},
    {"progress", no_argument, NULL, OPTION_PROGRESS},
    {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {0},
};

static bool complain(const char *what, const char *about)
{
    if (what)
        fprintf(stderr, "afork-run: %s%s\n", what, about);
    fputs("Try “afork-run --help”.\n", stderr);
    return false;
}

/* ---- Values ---- */

static bool parse_number(const char *text, unsigned long max, unsigned *ret)
{
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);

    if (errno || end == text || *end || number < 1 || (unsigned long)number > max)
        return complain("not a sensible number: ", text);
    *ret = (unsigned)number;
    return true;
}

static bool parse_seconds(const char *text, int64_t *ret)
{
    char *end;
    double seconds = strtod(text, &end);

    if (end == text || *end || !(seconds >= 1e-6 && seconds <= 1e9))
        return complain("not a sensible time: ", text);
    *ret = (int64_t)(seconds * 1e6);
    return true;
}

static bool parse_size(const char *text, uint64_t *ret)
{
    static const char units[] = "KMGT";
    char *end;
    double size = strtod(text, &end);
    const char *unit = *end ? strchr(units, *end & ~0x20) : NULL;

    for (const char *u = units; unit && u <= unit; u++)
        size *= 1024;
    if (end == text || (*end && !unit) || (*end && end[1]) || !(size >= 1 && size < 0x1p62))
        return complain("not a sensible size: ", text);
    *ret = (uint64_t)size;
    return true;
}

static bool parse_halt(const char *text, struct options *o)
{
    static const char *const names[] = {
        [HALT_NEVER] = "never", [HALT_SOON] = "soon", [HALT_NOW] = "now"};
    size_t len = strcspn(text, ",");

    for (int i = 0; i < 3; i++) {
        if (strlen(names[i]) != len || strncmp(text, names[i], len) != 0)
            continue;
        o->halt = (enum halt)i;
        if (!text[len])
            return true;
        if (strncmp(text + len, ",fail=", 6) == 0)
            return parse_number(text + len + 6, INT_MAX, &o->halt_failures);
    }
    return complain("--halt takes never, soon or now, and then maybe ,fail=NUMBER: ", text);
}

/* Lists and joined texts are never freed before the end: there are no more than on the command
 * line. */
static bool add(const char ***list, const char *value)
{
    size_t n = 0;

    while (*list && (*list)[n])
        n++;
    const char **longer = allocate((n + 2) * sizeof *longer);
    if (n)
        memcpy(longer, *list, n * sizeof *longer);
    longer[n] = value;
    longer[n + 1] = NULL;
    free(*list);
    *list = longer;
    return true;
}

/* What may stand before "=": words of letters, digits and underscores with "::" between. */
static bool is_module(const char *name)
{
    do {
        if (!isalpha((unsigned char)*name) && *name != '_')
            return false;
        while (isalnum((unsigned char)*name) || *name == '_')
            name++;
    } while (strncmp(name, "::", 2) == 0 && (name += 2));
    return !*name || *name == '=';
}

static bool add_module(const char ***list, char letter, const char *value)
{
    if (!is_module(value))
        return complain("not a module: ", value);
    char *copy = allocate(strlen(value) + 2);

    *copy = letter;
    strcpy(copy + 1, value);
    return add(list, copy);
}

/* A path as limits want it. */
static bool add_path(const char ***list, const char *value)
{
    char *path = realpath(value, NULL);

    if (!path) {
        fprintf(stderr, "afork-run: %s: %s\n", value, strerror(errno));
        return false;
    }
    return add(list, path);
}

static bool join(char **text, const char *more)
{
    size_t len = *text ? strlen(*text) : 0;
    char *longer = allocate(len + strlen(more) + 2);

    if (len)
        memcpy(longer, *text, len);
    strcpy(longer + len, more);
    strcat(longer, "\n");
    free(*text);
    *text = longer;
    return true;
}

/* ---- Options ---- */

static bool take_worker_option(int option, struct options *o)
{
    switch (option) {
    case 'j':
        return parse_number(optarg, 4096, &o->jobs);
    case 't':
        return parse_seconds(optarg, &o->timeout);
    case OPTION_RETRIES:
        return parse_number(optarg, 1000, &o->retries);
    case OPTION_HALT:
        return parse_halt(optarg, o);
    case OPTION_MEMORY:
        return parse_size(optarg, &o->memory);
    case OPTION_READ:
        return add_path(&o->read_paths, optarg);
    case OPTION_WRITE:
        return add_path(&o->write_paths, optarg);
    case OPTION_SSH:
        if (!*optarg || *optarg == '-')
            return complain("not a host: ", optarg);
        return add(&o->hosts, optarg);
    case OPTION_RSH:
        return *(o->rsh = optarg) || complain("--rsh needs a command", "");
    case OPTION_POOL_LOAD:
        return parse_number(optarg, 4096, &o->load);
    case OPTION_QUEUE:
        return parse_number(optarg, 1000000, &o->queue);
    case OPTION_HOLD:
        return parse_size(optarg, &o->hold);
    default:
        return complain(NULL, NULL); /* getopt has said what */
    }
}

static bool take_switch(int option, struct options *o)
{
    switch (option) {
    case '0':
        o->separator = '\0';
        return true;
    case OPTION_SKIP_EMPTY:
        return o->skip_empty = true;
    case OPTION_JSON:
        return o->json = true;
    case OPTION_SINGLE:
        return o->single = true;
    case OPTION_NO_NETWORK:
        return o->no_network = true;
    case 'k':
        o->unordered = false;
        return true;
    case 'u':
        return o->unordered = true;
    case OPTION_TAG:
        return o->tag = true;
    case OPTION_PRINT0:
        o->terminator = '\0';
        return true;
    case 'q':
        return o->quiet = true;
    case OPTION_PROGRESS:
        return o->progress = true;
    case 'v':
        return o->verbose = true;
    case 'h':
        return o->help = true;
    case 'V':
        return o->version = true;
    default:
        return take_worker_option(option, o);
    }
}

static bool take_option(int option, struct options *o)
{
    switch (option) {
    case 'M':
    case 'm':
        return add_module(&o->modules, (char)option, optarg);
    case 'I':
        return add(&o->include_dirs, optarg);
    case 'e':
        return join(&o->code, optarg);
    case OPTION_BEGIN:
        return join(&o->begin, optarg);
    case OPTION_INIT:
        return join(&o->init, optarg);
    case 'a':
        o->list = optarg;
        return true;
    case OPTION_JOBLOG:
        o->joblog = optarg;
        return true;
    default:
        return take_switch(option, o);
    }
}

static bool are_consistent(const struct options *o)
{
    bool limited = o->memory || o->no_network || o->read_paths || o->write_paths;
    bool remote = false;

    for (const char **host = o->hosts; host && *host; host++)
        remote |= strcmp(*host, ":") != 0;
    if (o->json && (o->tag || !o->separator || !o->terminator))
        return complain("--json goes with neither --tag nor --null nor --print0", "");
    if (remote && limited)
        return complain("workers on other machines cannot be limited or confined", "");
    if (o->joblog && (o->load || o->queue))
        return complain("--joblog goes with neither --pool-load nor --queue: no call may wait", "");
    return true;
}

bool options_parse(int argc, char **argv, struct options *options)
{
    int option;
    static char name[] = "afork-run";

    argv[0] = name; /* for the messages of getopt */
    *options = (struct options){
        .separator = '\n', .terminator = '\n', .hold = 64 << 20, .rsh = "ssh", .halt_failures = 1};
    while ((option = getopt_long(argc, argv, short_options, long_options, NULL)) != -1)
        if (!take_option(option, options))
            return false;
    if (options->help || options->version)
        return true;
    argv += optind;
    if (!options->code && (!*argv || !**argv))
        return complain("no function was named", "");
    if (!options->code)
        options->function = *argv++;
    options->args = argv;
    while (argv[options->n_args])
        options->n_args++;
    return are_consistent(options);
}

static void free_strings(const char **list)
{
    for (const char **string = list; string && *string; string++)
        free((char *)*string);
    free(list);
}

void options_free(struct options *options)
{
    free(options->code);
    free(options->begin);
    free(options->init);
    free(options->include_dirs);
    free(options->hosts);
    free_strings(options->modules);
    free_strings(options->read_paths);
    free_strings(options->write_paths);
}
