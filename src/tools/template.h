/* SPDX-License-Identifier: MIT
 *
 * What workers are forked from: a process that has been told all about the function to call.
 */
#ifndef AFORK_RUN_TEMPLATE_H
#define AFORK_RUN_TEMPLATE_H

#include <afork/afork.h>

#include "options.h"

/* Makes one, here or on a host; what is wrong with code and modules is told later, by its end,
 * which may have come already. `host` NULL: here. Returned; 0 or a negative errno. */
int template_new(struct afork_context *context, const struct options *options, const char *host,
                 struct afork_process **ret);

/* The function that a pool of it is to call, and the one it is to call first; NULL: none. `host` as
 * above. With --json the former adds the arguments of the command line to those of the line. */
const char *template_function(const struct options *options, const char *host);
const char *template_init(const struct options *options);

#endif
