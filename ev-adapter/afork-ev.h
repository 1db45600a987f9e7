/* SPDX-License-Identifier: MIT
 *
 * afork for programs built on libev: include this one header. It brings in the core's and <ev.h>.
 *
 * As everywhere in libev, program and library must be compiled with the same settings of ev.h. The
 * installed library has those of the installed ev.h. A program that embeds libev with settings of
 * its own, EV_MULTIPLICITY 0 for example, compiles the files of this adapter along with ev.c.
 */
#ifndef AFORK_EV_H
#define AFORK_EV_H

#define AFORK_EV_H_INSIDE

#include "afork-ev-channel.h"
#include "afork-ev-loop.h"

#undef AFORK_EV_H_INSIDE

#endif
