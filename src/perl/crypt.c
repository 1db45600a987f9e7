/* SPDX-License-Identifier: MIT
 *
 * libcrypt when it is needed. Perl is linked to it for one function that few programs call, and
 * every process pays: a tenth of the time an interpreter takes to start, and its mappings in each
 * fork.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>

struct crypt_data;

typedef char *crypt_function(const char *key, const char *salt, struct crypt_data *data);

/* As <crypt.h> has it, which need not be there. Modules must find ours. */
__attribute__((visibility("default"))) crypt_function crypt_r;

static crypt_function *find(void)
{
    static const char *const libraries[] = {"libcrypt.so.1", "libcrypt.so.2"};
    void *found = NULL;

    for (size_t i = 0; !found && i < sizeof libraries / sizeof *libraries; i++) {
        void *library = dlopen(libraries[i], RTLD_NOW);
        if (library)
            found = dlsym(library, "crypt_r");
    }
    return (crypt_function *)found;
}

char *crypt_r(const char *key, const char *salt, struct crypt_data *data)
{
    static crypt_function *libcrypt_crypt_r;

    if (!libcrypt_crypt_r)
        libcrypt_crypt_r = find();
    if (libcrypt_crypt_r)
        return libcrypt_crypt_r(key, salt, data);
    errno = ENOSYS;
    return NULL;
}
