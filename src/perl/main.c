/* SPDX-License-Identifier: MIT
 *
 * afork-perl: a complete perl that also has AnyEvent::Fork::Serve and AFork::Serve built in.
 *
 * Does what the main program of a stock perl does, but for the end, which is in exit.c.
 */
#include "exit.h"
#include "interpreter.h"

int main(int argc, char **argv, char **env)
{
    int failed;
    PerlInterpreter *my_perl = afork__interpreter_new(argc, argv, env, NULL, &failed);

    if (!my_perl)
        return 1;
    if (!failed)
        perl_run(my_perl);
    afork__exit(aTHX);
}
