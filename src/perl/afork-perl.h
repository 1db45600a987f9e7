/* SPDX-License-Identifier: MIT
 *
 * libafork-perl: launchers (afork-launch.h) for programs that cannot rely on a perl binary, only on
 * perl's library.
 *
 *   early     One call first thing in main() forks a small process, the *spawner*, which holds an
 *             interpreter that has run nothing. Each launch is a fork of it. The program itself never
 *             maps perl.
 *   self      The program executes itself, and becomes a server instead of itself. For programs with
 *             libperl inside; works after the file was deleted.
 *   template  A program that runs an interpreter of its own forks it, with all that is loaded.
 *
 * None of them changes locale, signals, environment or interpreter of the program.
 *
 * libafork-perl loads the part that knows perl, the *plugin*, when it is needed: in the spawner, in the
 * server, or, for template, in the program. The static library libafork-perl-embed.a has it inside.
 *
 * All functions may be called from any thread at any time, but for the two that belong to the start
 * of main(). Errors are negative errno, and afork_perl_error() has words for them.
 */
#ifndef AFORK_PERL_H
#define AFORK_PERL_H

#include <afork/afork.h>

AFORK_BEGIN_DECLS

/* What the last failed call of this library in this thread has to say. Never NULL; valid until the
 * next call in this thread. */
AFORK_EXPORT const char *afork_perl_error(void);

/* Starts the spawner and waits until its interpreter is ready, a few milliseconds. To be called first
 * thing in main(): before there are threads, and descriptors or memory that a copy should not hold;
 * after the program has given up privileges, changed its root directory, or become a daemon, since
 * whatever is launched has what the spawner has: user, groups, root directory, limits, umask, what
 * perl reads from the environment at its start (PERL5LIB, PERL5OPT, LC_ALL, ...). It ends with the
 * program, never before, and ignores the signals of a terminal.
 *
 * Errors: -EALREADY (there is one), -EBUSY (there are threads), -ENOENT, -ELIBBAD (the plugin cannot
 * be loaded), -ENOSYS (the kernel lacks what it takes, CONFIG_CHECKPOINT_RESTORE), -ENOEXEC (perl did
 * not start), -ETIMEDOUT (not within ten seconds), -EAGAIN, -EMFILE. */
AFORK_EXPORT AFORK_NODISCARD int afork_perl_early_init(void);

/* The launcher that forks the spawner; `data` is not used. May be used by contexts of all threads.
 * Errors: -ENOTCONN (there is no spawner), -ECHILD (it belongs to the process that this one was
 * forked from), -ECONNRESET (it ended), -EAGAIN (more is asked for than it has got to), those of
 * opening the directory. */
AFORK_EXPORT pid_t afork_perl_early_launch(const struct afork_launch *launch, void *data);

/* To be called first thing in main(). If this process was executed as a server, it becomes one and does
 * not return. Else afork_perl_self_launch() is ready for use.
 *
 * Errors: -EALREADY, -ELOOP (this process runs below a server of such a program, but was not executed
 * as one: something there has started the program itself. It may go on, but launches nothing, so that
 * no mistake can multiply. Who does this on purpose drops AFORK_PERL_SELF from the environment),
 * -ENOENT, -EACCES (the program's own file cannot be opened). */
AFORK_EXPORT AFORK_NODISCARD int afork_perl_self_init(int argc, char **argv);

/* The launcher that executes this program; `data` is not used. Errors: -ENOTCONN
 * (afork_perl_self_init() was not called, or failed), those of executing a program. */
AFORK_EXPORT pid_t afork_perl_self_launch(const struct afork_launch *launch, void *data);

/* The launcher that forks the interpreter `data` (a PerlInterpreter *), or, if that is NULL, the one of
 * this thread. The process returned is a template with all that the interpreter has: modules, data,
 * @INC, %SIG, file handles. It has no other descriptors of the program; a descriptor that belongs to
 * neither a handle of Perl nor `launch` becomes /dev/null, since libraries of the program may still
 * believe to own its number. It has no handlers of signals but those in %SIG;
 * END blocks, objects, and handles that exist now do not end with it or what is forked from it: no
 * END, no DESTROY, no close, no function of atexit().
 *
 * Output buffers of stdio and Perl are written first. This is a fork of the whole program: it takes
 * the longer the more memory that has. Threads of the program do not exist in the template, nor do
 * their locks ever open: more than one is a warning, or refused, as the context says.
 *
 * Errors: -ENXIO (no interpreter, or one of another libperl than the plugin's), -EBUSY (it compiles
 * code, starts or ends at the moment), -EDEADLK (threads, where the context refuses them), -ELIBBAD,
 * -ENOENT (the plugin cannot be loaded), -EAGAIN. */
AFORK_EXPORT pid_t afork_perl_template_launch(const struct afork_launch *launch, void *data);

AFORK_END_DECLS

#endif
