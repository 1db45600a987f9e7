/* SPDX-License-Identifier: MIT
 *
 * The command protocol: frames and string lists, encoded and decoded without any input or output.
 * doc/wire-protocol.md is the reference. Shared by the core and the Perl server.
 */
#ifndef AFORK_WIRE_H
#define AFORK_WIRE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum afork__command {
    AFORK__EVAL = 'e',   /* strings: code, @_ */
    AFORK__ARGS = 'a',   /* strings */
    AFORK__HANDLE = 'h', /* empty; one octet with a descriptor follows the frame */
    AFORK__FORK = 'f',   /* empty */
    AFORK__RUN = 'r',    /* the function's name */
    /* Only to a peer stated to be ours: */
    AFORK__FORK_AS = 'F',       /* as 'f'; the child's identity, 64 bits, and an octet of flags */
    AFORK__EXIT_MODE = 'X',     /* an octet: enum afork_exit_mode */
    AFORK__END_WITH_HOST = 'W', /* empty; the argument before it is the lifeline */
    AFORK__LIMITS = 'L',        /* a set of limits, see limit-set.h */
    AFORK__GIVE_UP = 'S',       /* identities of spares, 64 bits each, that nobody will use */
    AFORK__DETACH = 'D',        /* an octet of flags; it has no host of our kind any more */
    /* To a peer stated to be ours that has none: */
    AFORK__ATTACH = 'A', /* see below; the last pending argument is the status socket */
};

/* Flags of AFORK__FORK_AS. */
enum {
    AFORK__FORK_STDERR = 1 << 0, /* the argument before the socket is to be standard error */
    AFORK__FORK_SPARE = 1 << 1, /* nobody needs the child yet: it gets ready, and leaves no trace */
};

#define AFORK__FORK_AS_SIZE 9

/* The octet of AFORK__EXIT_MODE. */
enum { AFORK__EXIT_PERL, AFORK__EXIT_QUICK };
/* Flags of AFORK__DETACH. */
enum {
    AFORK__DETACH_STDERR = 1 << 0, /* the argument before it is to be standard error */
};

/* Flags of AFORK__ATTACH. */
enum {
    AFORK__ATTACH_REFUSE_THREADS = 1 << 0,
};

/* Payload of AFORK__ATTACH: identity, 64 bits; the host's pid, 32 bits; an octet of flags. */
#define AFORK__ATTACH_SIZE 13

#define AFORK__HEADER_SIZE 5
#define AFORK__PAYLOAD_MAX UINT32_MAX
#define AFORK__BER_MAX 10

/* The code that loads modules named in @_ as file names without suffix. A server of ours knows
 * it by its text and reports its failure as one of loading. */
#define AFORK__REQUIRE_CODE "require \"$_.pm\" for @_"

/* Writes a frame's header to `out`. */
void afork__wire_header(uint8_t out[AFORK__HEADER_SIZE], enum afork__command command,
                        uint32_t length);

/* Reads a frame's header. The command is not checked. */
void afork__wire_parse_header(const uint8_t in[AFORK__HEADER_SIZE], uint8_t *command,
                              uint32_t *length);

/* Writes `value` as a BER compressed integer (perl's pack "w"); returns its size. */
size_t afork__ber_put(uint8_t out[AFORK__BER_MAX], uint64_t value);

/* The size of a list of strings once packed; SIZE_MAX if that overflows. */
size_t afork__strings_size(const struct iovec *strings, size_t n);

/* Packs a list of strings to `out`, which has room for afork__strings_size() octets. */
void afork__strings_put(uint8_t *out, const struct iovec *strings, size_t n);

/* A packed list being read. */
struct afork__strings {
    const uint8_t *pos, *end;
};

/* Finds the next string, in place. Returns 1, 0 at the end, -EPROTO if the list is malformed. */
int afork__strings_next(struct afork__strings *list, const void **data, size_t *len);

#endif
