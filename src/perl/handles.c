/* SPDX-License-Identifier: MIT
 *
 * What handles hold in their buffers when a process forks or ends.
 *
 * An open file has one position, whoever reads it. Perl remembers where it was when a handle last
 * filled its buffer, and goes back from there when the handle is flushed, as it is at a fork and at
 * an exit. Another process may have read on meanwhile: then its lines would be read again. So this
 * goes back from where the file is.
 */
#include "handles.h"

#include <perliol.h>
#include <stdio.h>
#include <unistd.h>

bool afork__any_value(pTHX_ bool (*is_special)(pTHX_ SV *sv, void *data), void *data)
{
    for (SV *arena = PL_sv_arenaroot; arena; arena = (SV *)SvANY(arena)) {
        const SV *end = arena + SvREFCNT(arena);
        for (SV *sv = arena + 1; sv < end; sv++)
            if (!SvIS_FREED(sv) && is_special(aTHX_ sv, data))
                return true;
    }
    return false;
}

/* A layer may have something to write when it is closed. These have not. */
static bool is_plain_layer(const PerlIO_funcs *layer)
{
    static const char *const plain[] = {"unix", "perlio", "stdio", "crlf", "utf8", "pending",
                                        "scalar"};

    for (size_t i = 0; i < C_ARRAY_LENGTH(plain); i++)
        if (strEQ(layer->name, plain[i]))
            return true;
    return false;
}

static bool has_plain_layers(PerlIO *file)
{
    for (const PerlIOl *layer = file ? *file : NULL; layer; layer = layer->next)
        if (layer->tab && !is_plain_layer(layer->tab))
            return false;
    return true;
}

bool afork__is_plain_handle(const IO *io)
{
    return IoTYPE(io) != IoTYPE_PIPE && has_plain_layers(IoIFP(io)) && has_plain_layers(IoOFP(io));
}

static bool settle(pTHX_ SV *sv, void *data)
{
    PerlIO *file = SvTYPE(sv) == SVt_PVIO ? IoIFP((IO *)sv) : NULL;

    /* Layers that translate do not know their position in the file. */
    if (!PerlIOValid(file) || PerlIOBase(file)->tab != &PerlIO_perlio)
        return false;
    if (!(PerlIOBase(file)->flags & PERLIO_F_RDBUF) || PerlIO_get_cnt(file) <= 0)
        return false;

    SSize_t unread = PerlIO_get_cnt(file);
    off_t position = lseek(PerlIO_fileno(file), 0, SEEK_CUR);
    if (position < unread)
        return false; /* not a file: what was read ahead stays in the buffer */
    PerlIO_set_ptrcnt(file, PerlIO_get_ptr(file) + unread, 0);
    PerlIO_seek(file, position - unread, SEEK_SET);
    return false;
}

void afork__settle_input(pTHX)
{
    afork__any_value(aTHX_ settle, NULL);
}

void afork__flush(pTHX)
{
    afork__settle_input(aTHX);
    PerlIO_flush(NULL);
    fflush(NULL);
}
