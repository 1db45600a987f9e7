/* SPDX-License-Identifier: MIT
 *
 * A running interpreter, forked into a template.
 */
#ifndef AFORK_PERL_TEMPLATE_FORK_H
#define AFORK_PERL_TEMPLATE_FORK_H

#include <afork/afork.h>

/* As afork_perl_template_launch(); `*why` is set to words for an error, if there are better ones
 * than libc's. */
pid_t afork__template_fork(const struct afork_launch *launch, void *interpreter, const char **why);

#endif
