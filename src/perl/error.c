/* SPDX-License-Identifier: MIT
 *
 * Words for errors of libafork-perl, one set a thread.
 */
#include "config.h"

#include "afork-perl.h"

#include <stdarg.h>
#include <stdio.h>

#include "plugin.h"

static _Thread_local char words[512];

const char *afork_perl_error(void)
{
    return words;
}

int afork__error(int error, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    return error;
}
