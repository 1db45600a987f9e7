/* SPDX-License-Identifier: MIT
 *
 * Pending arguments of a server: what `run` hands to the function after the socket.
 */
#ifndef AFORK_PERL_ARGS_H
#define AFORK_PERL_ARGS_H

#include "perl-api.h"

enum { AFORK__FEW_ARGUMENTS = 6 };

struct afork__argument {
    int fd;       /* a descriptor, or -1 for a string */
    char *buffer; /* the string's memory; it starts at buffer + skip */
    size_t skip, len;
};

/* Between forks arguments are plain C: a child copies few pages then, and one that is never run
 * copies none. They become Perl values when code could look at them, in
 * @AnyEvent::Fork::Serve::arg. */
struct afork__arguments {
    struct afork__argument *list; /* `few`, or memory when there are more */
    size_t count, room;
    struct afork__argument few[AFORK__FEW_ARGUMENTS];
    AV *values; /* what is in Perl already: it comes before `list` */
};

/* Appends a descriptor, which is taken. */
void afork__arguments_add_fd(pTHX_ struct afork__arguments *arguments, int fd);

/* Appends a string, which is copied. */
void afork__arguments_add_string(pTHX_ struct afork__arguments *arguments, const void *data,
                                 size_t len);

/* Appends the string that fills `buffer` from `skip` on. The buffer is perl's memory, has room for
 * one octet more, and is taken. */
void afork__arguments_take_string(pTHX_ struct afork__arguments *arguments, char *buffer,
                                  size_t skip, size_t len);

/* Removes the last argument and returns its descriptor; the caller closes it. -1: it has none. */
int afork__arguments_pop_fd(pTHX_ struct afork__arguments *arguments);

/* Moves all arguments to @AnyEvent::Fork::Serve::arg. */
void afork__arguments_to_perl(pTHX_ struct afork__arguments *arguments);

/* Moves all arguments to the end of `av`. */
void afork__arguments_move(pTHX_ struct afork__arguments *arguments, AV *av);

/* Drops all arguments. */
void afork__arguments_clear(pTHX_ struct afork__arguments *arguments);

/* A new reference to a new handle for reading and writing, as open "+<&=" makes it. */
SV *afork__handle_new(pTHX_ int fd);

/* The descriptor of a handle, or of a reference to one; -1 if it has none. */
int afork__handle_fd(pTHX_ SV *handle);

#endif
