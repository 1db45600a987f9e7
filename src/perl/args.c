/* SPDX-License-Identifier: MIT
 *
 * Pending arguments and handles.
 */
#include "args.h"

#include <fcntl.h>
#include <unistd.h>

static struct afork__argument *append(struct afork__arguments *arguments)
{
    if (!arguments->list) {
        arguments->list = arguments->few;
        arguments->room = AFORK__FEW_ARGUMENTS;
    } else if (arguments->count == arguments->room) {
        struct afork__argument *list;
        Newx(list, 2 * arguments->room, struct afork__argument);
        Copy(arguments->list, list, arguments->count, struct afork__argument);
        if (arguments->list != arguments->few)
            Safefree(arguments->list);
        arguments->list = list;
        arguments->room *= 2;
    }
    return &arguments->list[arguments->count++];
}

void afork__arguments_add_fd(pTHX_ struct afork__arguments *arguments, int fd)
{
    *append(arguments) = (struct afork__argument){.fd = fd};
}

void afork__arguments_take_string(pTHX_ struct afork__arguments *arguments, char *buffer,
                                  size_t skip, size_t len)
{
    *append(arguments) = (struct afork__argument){-1, buffer, skip, len};
}

void afork__arguments_add_string(pTHX_ struct afork__arguments *arguments, const void *data,
                                 size_t len)
{
    char *buffer;

    Newx(buffer, len + 1, char);
    memcpy(buffer, data, len);
    afork__arguments_take_string(aTHX_ arguments, buffer, 0, len);
}

SV *afork__handle_new(pTHX_ int fd)
{
    ENTER; /* opening leaves something to free behind */
    GV *gv = (GV *)newSV(0);
    SV *number = sv_2mortal(newSViv(fd));
    gv_init_pvn(gv, CopSTASH(PL_curcop), "fh", 2, 0);
    if (!do_openn(gv, "+<&=", 4, FALSE, 0, 0, NULL, &number, 1))
        croak("AnyEvent::Fork::Serve: open (fd_recv) failed: %s\n", Strerror(errno));

    /* PERL_UNICODE and `use open` may have put layers on it. */
    IO *io = GvIO(gv);
    PerlIO_binmode(aTHX_ IoIFP(io), '<', O_BINARY, NULL);
    if (IoOFP(io) && IoOFP(io) != IoIFP(io))
        PerlIO_binmode(aTHX_ IoOFP(io), '>', O_BINARY, NULL);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    LEAVE;
    return newRV_noinc((SV *)gv);
}

int afork__handle_fd(pTHX_ SV *handle)
{
    if (!SvROK(handle) && !isGV_with_GP(handle))
        return -1;
    IO *io = sv_2io(handle);
    return io && IoIFP(io) ? PerlIO_fileno(IoIFP(io)) : -1;
}

/* The string's memory becomes the value's where perl's memory is malloc's, so that a large argument
 * is never copied. */
static SV *string_value(pTHX_ const struct afork__argument *argument)
{
    SV *value = newSV_type(SVt_PV);

    argument->buffer[argument->skip + argument->len] = '\0';
    sv_usepvn_flags(value, argument->buffer, argument->skip + argument->len, SV_HAS_TRAILING_NUL);
    if (argument->skip)
        sv_chop(value, SvPVX(value) + argument->skip);
    return value;
}

void afork__arguments_move(pTHX_ struct afork__arguments *arguments, AV *av)
{
    if (arguments->values) {
        while (av_count(arguments->values))
            av_push(av, av_shift(arguments->values));
    }
    for (size_t i = 0; i < arguments->count; i++) {
        const struct afork__argument *argument = &arguments->list[i];
        av_push(av, argument->fd < 0 ? string_value(aTHX_ argument)
                                     : afork__handle_new(aTHX_ argument->fd));
    }
    arguments->count = 0;
}

void afork__arguments_to_perl(pTHX_ struct afork__arguments *arguments)
{
    AV *values = get_av("AnyEvent::Fork::Serve::arg", GV_ADD);

    if (!arguments->count)
        return;
    arguments->values = NULL;
    afork__arguments_move(aTHX_ arguments, values);
    arguments->values = values;
}

int afork__arguments_pop_fd(pTHX_ struct afork__arguments *arguments)
{
    if (arguments->count) {
        const struct afork__argument *last = &arguments->list[--arguments->count];
        if (last->fd < 0)
            Safefree(last->buffer);
        return last->fd;
    }
    if (!arguments->values || !av_count(arguments->values))
        return -1;

    SV *last = sv_2mortal(av_pop(arguments->values));
    int fd = afork__handle_fd(aTHX_ last);
    return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

void afork__arguments_clear(pTHX_ struct afork__arguments *arguments)
{
    for (size_t i = 0; i < arguments->count; i++) {
        if (arguments->list[i].fd >= 0)
            close(arguments->list[i].fd);
        else
            Safefree(arguments->list[i].buffer);
    }
    if (arguments->list != arguments->few)
        Safefree(arguments->list);
    if (arguments->values)
        av_clear(arguments->values);
    *arguments = (struct afork__arguments){0};
}
