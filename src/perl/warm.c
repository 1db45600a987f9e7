/* SPDX-License-Identifier: MIT
 *
 * Getting a spare ready. What a fresh child does first is slow, because it takes a page fault at
 * every other step: code is not mapped yet, and data that it writes to has to be copied. A spare
 * has the time to go that way once before anybody waits for it. It costs memory that is the spare's
 * alone, so only those pages are made its own that almost every function will write to.
 */
#include "server.h"

#include <link.h>
#include <sys/mman.h>

enum { PAGE = 4096, C_STACK = 4 * PAGE };

/* As a function does: arguments, variables, a string, a list, a hash, a call. */
static const char rehearsal[] =
    "package AnyEvent::Fork::Serve;"
    "sub {"
    " my ($socket, @list) = @_;"
    " my %hash = (length => scalar @list);"
    " my $text = join ',', map { qq($_) } sort keys %hash;"
    " return length $text"
    "}";

static SV *rehearsed;

void afork__warm_prepare(pTHX)
{
    if (rehearsed)
        return;
    ENTER;
    SAVETMPS;
    rehearsed = newSVsv(eval_pv(rehearsal, TRUE));
    FREETMPS;
    LEAVE;
    PL_evalseq--; /* the user's first code is "(eval 1)" */
}

/* What the kernel refuses, such as data that became read-only after it was relocated, is left out;
 * kernels before 5.14 refuse all. */
static void prepare(const void *start, size_t len, int advice)
{
    uintptr_t first = (uintptr_t)start & ~(uintptr_t)(PAGE - 1);
    uintptr_t end = ((uintptr_t)start + len + PAGE - 1) & ~(uintptr_t)(PAGE - 1);

    madvise((void *)first, end - first, advice);
}

/* Makes pages the process's own. */
static void touch(const void *start, size_t len)
{
    prepare(start, len, MADV_POPULATE_WRITE);
}

/* Whether the object is the one that holds perl: the program, or libperl.so. */
static bool holds_perl(const struct dl_phdr_info *info)
{
    uintptr_t perl = (uintptr_t)Perl_call_sv - info->dlpi_addr;

    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD &&
            perl - info->dlpi_phdr[i].p_vaddr < info->dlpi_phdr[i].p_memsz)
            return true;
    return false;
}

/* Maps perl's code, which stays shared, and makes its data the process's own. */
static int map_perl(struct dl_phdr_info *info, size_t size, void *data)
{
    size_t constant = 0;

    PERL_UNUSED_VAR(size);
    PERL_UNUSED_VAR(data);
    if (!holds_perl(info))
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_GNU_RELRO)
            constant = info->dlpi_phdr[i].p_memsz;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        const char *start = (const char *)info->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_LOAD && segment->p_flags & PF_X)
            prepare(start, segment->p_memsz, MADV_POPULATE_READ);
        else if (segment->p_type == PT_LOAD && segment->p_flags & PF_W)
            touch(start + constant, segment->p_memsz - constant);
    }
    return 1;
}

static void touch_stacks(pTHX)
{
    touch((const char *)__builtin_frame_address(0) - C_STACK, C_STACK);
    touch(PL_stack_sp, PAGE);
    touch(PL_markstack_ptr, sizeof *PL_markstack);
    touch(PL_savestack + PL_savestack_ix, sizeof *PL_savestack);
    touch(PL_scopestack + PL_scopestack_ix, sizeof *PL_scopestack);
    touch(PL_tmps_stack + PL_tmps_ix + 1, sizeof *PL_tmps_stack);
    touch(cxstack, sizeof *cxstack);
}

void afork__server_warm(pTHX_ struct afork__server *server)
{
    server->warm = true;
    afork__server_announce(aTHX_ server);
    dl_iterate_phdr(map_perl, NULL);
    touch(aTHX, sizeof(PerlInterpreter));
    touch_stacks(aTHX);

    dSP;
    ENTER;
    SAVETMPS;
    PUSHMARK(SP);
    XPUSHs(*av_fetch(server->args, 0, TRUE));
    PUTBACK;
    call_sv(rehearsed, G_SCALAR | G_DISCARD);
    FREETMPS;
    LEAVE;
}
