/* SPDX-License-Identifier: MIT
 *
 * Options by getopt_long(), since people write -j4.
 */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char options_help[] =
    "Usage: afork-thumbnails [OPTION]... FILE|DIRECTORY|-...\n"
    "Makes thumbnails of pictures in the desktop's cache. \"-\" reads names from standard input.\n"
    "\n"
    "  -r, --recursive          enter directories at all levels\n"
    "  -s, --size=SIZE          normal (128), large (256, the default), x-large (512), xx-large "
    "(1024)\n"
    "  -f, --force              make valid thumbnails again, and try again what failed before\n"
    "  -T, --files-from=FILE    also take what is named in FILE, one a line\n"
    "  -0, --null               the names in FILE end with NUL\n"
    "  -j, --jobs=N             workers at a time (default: the processors this process may use)\n"
    "  -t, --timeout=SECONDS    time that a picture may take (default: 60)\n"
    "      --max-megapixels=N   refuse larger pictures (default: 200)\n"
    "      --memory=N           megabytes of address space that a worker may have\n"
    "      --untrusted          a process for each picture, without network and other processes\n"
    "      --json               report in JSON, an object a line\n"
    "  -q, --quiet              report failures only\n"
    "  -v, --verbose            show what perl and libraries print\n"
    "  -h, --help               show this and exit\n"
    "  -V, --version            show the version and exit\n"
    "\n"
    "Exit status: 0 if every picture has its thumbnail, 1 if some failed, 2 if nothing could be\n"
    "started, 128 + N after signal N.\n";

enum { OPTION_JSON = UCHAR_MAX + 1, OPTION_MAX_MEGAPIXELS, OPTION_MEMORY, OPTION_UNTRUSTED };

static const struct option long_options[] = {
    {"recursive", no_argument, NULL, 'r'},
    {"size", required_argument, NULL, 's'},
    {"force", no_argument, NULL, 'f'},
    {"files-from", required_argument, NULL, 'T'},
    {"null", no_argument, NULL, '0'},
    {"jobs", required_argument, NULL, 'j'},
    {"timeout", required_argument, NULL, 't'},
    {"max-megapixels", required_argument, NULL, OPTION_MAX_MEGAPIXELS},
    {"memory", required_argument, NULL, OPTION_MEMORY},
    {"untrusted", no_argument, NULL, OPTION_UNTRUSTED},
    {"json", no_argument, NULL, OPTION_JSON},
    {"quiet", no_argument, NULL, 'q'},
    {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {0},
};

static bool complain(const char *program, const char *what, const char *about)
{
    if (what)
        fprintf(stderr, "%s: %s%s\n", program, what, about);
    fprintf(stderr, "Try “%s --help”.\n", program);
    return false;
}

/* A number from 1 to a million: enough for all, and no product of it overflows. */
static bool parse_number(const char *program, unsigned *ret)
{
    char *end;
    errno = 0;
    long number = strtol(optarg, &end, 10);

    if (errno || end == optarg || *end || number < 1 || number > 1000000)
        return complain(program, "not a sensible number: ", optarg);
    *ret = (unsigned)number;
    return true;
}

static bool take_option(const char *program, int option, struct options *o)
{
    switch (option) {
    case 'r':
        return o->recursive = true;
    case 's':
        o->size = optarg;
        return true;
    case 'f':
        return o->force = true;
    case 'T':
        if (o->list && strcmp(o->list, optarg) != 0)
            return complain(program, "only one list can be read: ", optarg);
        o->list = optarg;
        return true;
    case '0':
        return o->null = true;
    case 'j':
        return parse_number(program, &o->jobs);
    case 't':
        return parse_number(program, &o->timeout);
    case OPTION_MAX_MEGAPIXELS:
        return parse_number(program, &o->max_megapixels);
    case OPTION_MEMORY:
        return parse_number(program, &o->memory);
    case OPTION_UNTRUSTED:
        return o->untrusted = true;
    case OPTION_JSON:
        return o->json = true;
    case 'q':
        return o->quiet = true;
    case 'v':
        return o->verbose = true;
    case 'h':
        return o->help = true;
    case 'V':
        return o->version = true;
    default:
        return complain(program, NULL, NULL); /* getopt has said what */
    }
}

bool options_parse(int argc, char **argv, struct options *options)
{
    int option;

    argv[0] = program_invocation_short_name; /* for our messages and those of getopt */
    *options = (struct options){.size = "large", .timeout = 60, .max_megapixels = 200};
    while ((option = getopt_long(argc, argv, "rs:fT:0j:t:qvhV", long_options, NULL)) != -1)
        if (!take_option(argv[0], option, options))
            return false;
    options->names = argv + optind;
    for (char **name = options->names; *name; name++) {
        if (!**name)
            return complain(argv[0], "a name is empty", "");
        if (strcmp(*name, "-") != 0)
            continue;
        if (options->list && strcmp(options->list, "-") != 0)
            return complain(argv[0], "only one list can be read: ", options->list);
        options->list = "-";
    }
    if (!*options->names && !options->list && !options->help && !options->version)
        return complain(argv[0], "no files were named", "");
    return true;
}
