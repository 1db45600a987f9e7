/* SPDX-License-Identifier: MIT
 *
 * Perl's headers, in the way all files here need them.
 */
#ifndef AFORK_PERL_API_H
#define AFORK_PERL_API_H

#define PERL_NO_GET_CONTEXT
#include <EXTERN.h>
#include <perl.h>
#include <XSUB.h>

#endif
