/* SPDX-License-Identifier: MIT
 *
 * The plugin of a program that has it inside.
 */
#include "config.h"

#include "plugin.h"

extern const struct afork__plugin afork_perl_plugin;

int afork__plugin_get(const struct afork__plugin **ret)
{
    *ret = &afork_perl_plugin;
    return 0;
}
