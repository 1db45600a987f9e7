/* SPDX-License-Identifier: MIT
 *
 * The end of an afork-perl process.
 */
#include "exit.h"
#include "serve.h"

void afork__exit(pTHX)
{
    PerlInterpreter *my_perl_copy = aTHX;

    afork__serve_leave();
    for (int i = 1; PL_sig_name[i]; i++)
        if (rsignal_state(PL_sig_num[i]) == (Sighandler_t)PL_csighandlerp)
            rsignal(PL_sig_num[i], (Sighandler_t)SIG_DFL);
    int status = perl_destruct(my_perl_copy);
    perl_free(my_perl_copy);
    PERL_SYS_TERM();
    exit(status);
}
