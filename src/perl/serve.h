/* SPDX-License-Identifier: MIT
 *
 * The server as a part of Perl: AnyEvent::Fork::Serve and AFork::Serve.
 */
#ifndef AFORK_PERL_SERVE_H
#define AFORK_PERL_SERVE_H

#include "perl-api.h"

/* Defines the functions of both modules. */
void afork__serve_boot(pTHX);

/* Before a process ends that may have been serving: what it has to say is said. */
void afork__serve_leave(void);

#endif
