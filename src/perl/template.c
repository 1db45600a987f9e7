/* SPDX-License-Identifier: MIT
 *
 * The launcher of programs with an interpreter of their own. All of it is in the plugin.
 */
#include "config.h"

#include "afork-perl.h"

#include <string.h>

#include "plugin.h"

pid_t afork_perl_template_launch(const struct afork_launch *launch, void *data)
{
    const struct afork__plugin *plugin;
    const char *why = NULL;
    int result = afork__plugin_get(&plugin);

    if (result < 0)
        return result;
    pid_t pid = plugin->fork_template(launch, data, &why);
    return pid < 0 ? afork__error(pid, "%s", why ? why : strerror(-pid)) : pid;
}
