/* SPDX-License-Identifier: MIT
 *
 * What libafork-perl, which knows no perl, asks of the plugin, which is linked to it. Both are of one
 * version.
 */
#ifndef AFORK_PERL_PLUGIN_H
#define AFORK_PERL_PLUGIN_H

#include <afork/afork.h>

#define AFORK__PLUGIN_SYMBOL "afork_perl_plugin"

struct afork__plugin {
    const char *version; /* PACKAGE_VERSION of both */

    /* Becomes the spawner behind a control socket. Tells the other end when it is ready, or why it
     * cannot be: an errno, then text. */
    void (*spawner)(int control_fd) __attribute__((noreturn));

    /* Becomes a server, as main() of afork-perl. */
    void (*serve)(int argc, char **argv, char **env) __attribute__((noreturn));

    /* afork_perl_template_launch(). `*why` is set to words for an error. */
    pid_t (*fork_template)(const struct afork_launch *launch, void *interpreter, const char **why);
};

/* The plugin, loaded when first needed. 0 or a negative errno, with words for it. */
int afork__plugin_get(const struct afork__plugin **ret);

/* Remembers words for an error of this thread. Returns `error`. */
int afork__error(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
