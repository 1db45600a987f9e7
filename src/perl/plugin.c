/* SPDX-License-Identifier: MIT
 *
 * The plugin's one symbol, and the server that the program becomes when it executes itself.
 */
#include "config.h"

#include "plugin.h"

#include "exit.h"
#include "interpreter.h"
#include "note-forks.h"
#include "spawner.h"
#include "template-fork.h"

__attribute__((noreturn)) static void serve(int argc, char **argv, char **env)
{
    int failed;
    PerlInterpreter *my_perl = afork__interpreter_new(argc, argv, env, AFORK_FOREIGN_PERL, &failed);

    if (!my_perl)
        _exit(1);
    afork__hook_forks(aTHX_ false);
    if (!failed)
        perl_run(my_perl);
    afork__exit(aTHX);
}

extern const struct afork__plugin afork_perl_plugin;

__attribute__((visibility("default"))) const struct afork__plugin afork_perl_plugin = {
    .version = PACKAGE_VERSION,
    .spawner = afork__spawner,
    .serve = serve,
    .fork_template = afork__template_fork,
};
