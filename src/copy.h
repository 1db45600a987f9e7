/* SPDX-License-Identifier: MIT
 *
 * Which copy of the program this is: whether it has been forked since something was made.
 */
#ifndef AFORK_COPY_H
#define AFORK_COPY_H

#include <stdint.h>

/* A number that is another one in each forked copy of the program than in those it comes from;
 * never 0. Without a system call, since every public call asks. */
uint32_t afork__copy_number(void);

#endif
