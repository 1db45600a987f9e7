/* SPDX-License-Identifier: MIT
 *
 * Finding the plugin. Its symbols, and those of libperl behind it, have to be global: perl's own
 * modules look for them.
 */
#include "config.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plugin.h"

int afork__plugin_get(const struct afork__plugin **ret)
{
    static const struct afork__plugin *_Atomic loaded;
    const struct afork__plugin *plugin = loaded;

    if (plugin) {
        *ret = plugin;
        return 0;
    }
    const char *path = secure_getenv("AFORK_PERL_PLUGIN");
    if (!path || !*path)
        path = AFORK_PLUGIN_PATH;
    void *library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    if (!library) {
        int error = access(path, F_OK) < 0 ? -errno : -ELIBBAD;
        return afork__error(error, "%s", dlerror());
    }
    plugin = dlsym(library, AFORK__PLUGIN_SYMBOL);
    if (!plugin || strcmp(plugin->version, PACKAGE_VERSION) != 0) {
        dlclose(library);
        return afork__error(-ELIBBAD, "%s is not the plugin of afork " PACKAGE_VERSION, path);
    }
    loaded = plugin;
    *ret = plugin;
    return 0;
}
