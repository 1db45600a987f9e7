/* SPDX-License-Identifier: MIT
 *
 * What was there before a process was copied. An object is marked by a piece of magic, because
 * neither its address nor its class say which one it is: addresses are used again as soon as it is
 * freed. The magic has no functions, so that nothing behaves differently for it.
 */
#define PERL_CORE 1
#include "inherited.h"

#include "handles.h"

#include <perliol.h>

static const MGVTBL mark;
/* How often the process at hand and those above it were copied. What one of them had marked
 * (mg_len: how often it was copied itself) is inherited here, what this one marks for its own
 * copies is not. */
static unsigned generation;
static struct inherited {
    bool noted;
    unsigned below; /* objects of earlier generations are inherited */
    Size_t n_end_blocks;
    I32 n_exit_functions;
} now, program;

static const MAGIC *find_mark(const SV *sv)
{
    return SvTYPE(sv) >= SVt_PVMG && SvMAGIC(sv) ? mg_findext(sv, PERL_MAGIC_ext, &mark) : NULL;
}

bool afork__is_inherited(const SV *sv)
{
    const MAGIC *magic = find_mark(sv);

    if (!magic || magic->mg_len >= (SSize_t)now.below)
        return false;
    return SvTYPE(sv) != SVt_PVIO || magic->mg_private == (U8)IoTYPE((const IO *)sv);
}

static bool mark_object(pTHX_ SV *sv, void *data)
{
    PERL_UNUSED_ARG(data);
    if (!SvOBJECT(sv))
        return false;
    MAGIC *magic = (MAGIC *)find_mark(sv);
    bool is_handle = SvTYPE(sv) == SVt_PVIO;
    if (magic && (!is_handle || magic->mg_private == (U8)IoTYPE((IO *)sv)))
        return false;
    if (!magic)
        magic = sv_magicext(sv, NULL, PERL_MAGIC_ext, &mark, NULL, 0);
    magic->mg_len = (SSize_t)generation;
    if (is_handle)
        magic->mg_private = (U8)IoTYPE((IO *)sv);
    return false;
}

void afork__inherited_prepare(pTHX)
{
    afork__any_value(aTHX_ mark_object, NULL);
}

void afork__inherited_copied(pTHX)
{
    now = (struct inherited){
        .noted = true,
        .below = ++generation,
        .n_end_blocks = PL_endav ? av_count(PL_endav) : 0,
        .n_exit_functions = (I32)PL_exitlistlen,
    };
}

void afork__inherited_note(pTHX)
{
    afork__inherited_prepare(aTHX);
    afork__inherited_copied(aTHX);
}

void afork__inherited_note_program(pTHX)
{
    afork__inherited_note(aTHX);
    program = now;
}

bool afork__inherited_noted(void)
{
    return now.noted;
}

Size_t afork__inherited_end_blocks(void)
{
    return now.n_end_blocks;
}

I32 afork__inherited_exit_functions(void)
{
    return now.n_exit_functions;
}

void afork__inherited_forget(void)
{
    now = program;
}

void afork__inherited_disarm(pTHX)
{
    /* A new block is put in front of the others. None of them is freed: that might free an
     * object. */
    for (; PL_endav && now.n_end_blocks && av_count(PL_endav); now.n_end_blocks--)
        (void)av_pop(PL_endav);
    now.n_end_blocks = 0;

    if (now.n_exit_functions && (I32)PL_exitlistlen >= now.n_exit_functions) {
        PL_exitlistlen -= now.n_exit_functions;
        Move(PL_exitlist + now.n_exit_functions, PL_exitlist, PL_exitlistlen, PerlExitListEntry);
    }
    now.n_exit_functions = 0;
}

static bool is_new_object(const SV *sv)
{
    return SvOBJECT(sv) && !afork__is_inherited(sv);
}

/* As perl: first the references go, so that objects end in an order that suits them. */
static bool drop_reference(pTHX_ SV *sv, void *data)
{
    PERL_UNUSED_ARG(data);
    if (!SvROK(sv) || SvWEAKREF(sv) || !is_new_object(SvRV(sv)))
        return false;
    SV *target = SvRV(sv);
    SvROK_off(sv);
    SvRV_set(sv, NULL);
    SvREFCNT_dec_NN(target);
    return false;
}

static void call_destructor(pTHX_ SV *sv, CV *destructor)
{
    dSP;

    ENTER;
    SAVETMPS;
    PUSHMARK(SP);
    SV *reference = sv_2mortal(newRV_inc(sv));
    XPUSHs(reference);
    PUTBACK;
    call_sv((SV *)destructor, G_DISCARD | G_EVAL | G_KEEPERR | G_VOID);
    if (SvOBJECT(sv) && SvTYPE(sv) != SVt_PVIO) { /* else it would end again with the reference */
        HV *stash = SvSTASH(sv);
        SvOBJECT_off(sv);
        SvSTASH_set(sv, NULL);
        SvREFCNT_dec(stash);
    }
    FREETMPS;
    LEAVE;
}

/* Then those are ended that something else holds: cycles, closures, symbol tables. */
static bool end_object(pTHX_ SV *sv, void *data)
{
    PERL_UNUSED_ARG(data);
    if (!is_new_object(sv) || !SvSTASH(sv) || !HvNAME_HEK(SvSTASH(sv)))
        return false;
    GV *gv = gv_fetchmethod_autoload(SvSTASH(sv), "DESTROY", TRUE);
    if (gv && GvCV(gv) && (CvROOT(GvCV(gv)) || CvXSUB(GvCV(gv))))
        call_destructor(aTHX_ sv, GvCV(gv));
    return false;
}

/* Layers that are written in Perl need their objects, which go next; as PerlIO_destruct(). */
static bool pop_layers(pTHX_ SV *sv, void *data)
{
    IO *io = (IO *)sv;

    PERL_UNUSED_ARG(data);
    if (SvTYPE(sv) != SVt_PVIO || afork__is_inherited(sv))
        return false;
    PerlIO *files[] = {IoIFP(io), IoOFP(io) == IoIFP(io) ? NULL : IoOFP(io)};
    for (size_t i = 0; i < C_ARRAY_LENGTH(files); i++) {
        PerlIO *layer = files[i];
        while (layer && *layer) {
            if ((*layer)->tab && (*layer)->tab->kind & PERLIO_K_DESTRUCT) {
                PerlIO_flush(layer);
                PerlIO_pop(aTHX_ layer);
            } else {
                layer = (PerlIO *)*layer; /* the layer below is the first thing in it */
            }
        }
    }
    return false;
}

static bool close_handle(pTHX_ SV *sv, void *data)
{
    IO *io = (IO *)sv;

    PERL_UNUSED_ARG(data);
    if (SvTYPE(sv) != SVt_PVIO || !IoIFP(io) || afork__is_inherited(sv) ||
        afork__is_plain_handle(io))
        return false;
    PerlIO *in = IoIFP(io), *out = IoOFP(io);
    IoIFP(io) = IoOFP(io) = NULL;
    if (out && out != in)
        PerlIO_close(out);
    if (IoTYPE(io) == IoTYPE_PIPE)
        PerlProc_pclose(in);
    else
        PerlIO_close(in);
    return false;
}

void afork__inherited_finish(pTHX)
{
    PL_curcop = &PL_compiling;
    PL_phase = PERL_PHASE_DESTRUCT;
    afork__any_value(aTHX_ pop_layers, NULL);
    afork__any_value(aTHX_ drop_reference, NULL);
    afork__any_value(aTHX_ end_object, NULL);
    afork__any_value(aTHX_ close_handle, NULL);
    while (PL_exitlistlen-- > 0)
        PL_exitlist[PL_exitlistlen].fn(aTHX_ PL_exitlist[PL_exitlistlen].ptr);
    PL_exitlistlen = 0;
}
