/* SPDX-License-Identifier: MIT
 *
 * The XS modules that are part of the program: the loader of all others. A program with more of
 * them inside has its own xs_init() (perl -MExtUtils::Embed -e xsinit).
 */
#include "perl-api.h"

EXTERN_C void boot_DynaLoader(pTHX_ CV *cv);
EXTERN_C void xs_init(pTHX);

void xs_init(pTHX)
{
    dXSUB_SYS;
    newXS("DynaLoader::boot_DynaLoader", boot_DynaLoader, __FILE__);
}
