/* SPDX-License-Identifier: MIT
 *
 * fork() of afork-perl. Stands before libc's for perl and all its modules, because a root cannot
 * tell in any other way which of its children user code made and which are orphans.
 */
#include <dlfcn.h>
#include <unistd.h>

#include "reap.h"

__attribute__((visibility("default"))) pid_t fork(void)
{
    static pid_t (*libc_fork)(void);

    if (!libc_fork)
        *(void **)&libc_fork = dlsym(RTLD_NEXT, "fork");
    pid_t pid = libc_fork();
    if (pid >= 0)
        afork__children_forked_by_user(pid);
    return pid;
}
