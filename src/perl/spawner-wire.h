/* SPDX-License-Identifier: MIT
 *
 * What goes over the control socket (SOCK_SEQPACKET) between libafork-perl and its spawner.
 *
 * The spawner first sends an int32_t, 0 or an errno, and text. Later it only sends the pid of a process
 * that it started for a context which was closed meanwhile, an int32_t: the program's own child, which
 * nobody else would reap.
 *
 * A request is the struct below, then strings, each with a NUL: include directories, environment. With
 * more of them than AFORK__INLINE_MAX octets, they are in a file that is the last descriptor.
 * Descriptors: command socket, status socket, directory, those of `stdio` that are not null.
 */
#ifndef AFORK_PERL_SPAWNER_WIRE_H
#define AFORK_PERL_SPAWNER_WIRE_H

#include <stdint.h>

enum {
    AFORK__INLINE_MAX = 4096,
    AFORK__REQUEST_FDS = 7,
    AFORK__READY_TEXT_MAX = 512,
};

struct afork__request {
    uint64_t identity;
    uint64_t strings_size;
    uint32_t n_include_dirs, n_environment;
    int32_t owner;
    uint8_t refuse_threads, new_session;
    uint8_t stdio; /* bit N: descriptor N is sent */
    uint8_t in_file;
};

_Static_assert(sizeof(struct afork__request) == 32, "no padding");

#endif
