/* SPDX-License-Identifier: MIT
 *
 * Forked copies of the host, recognised by a page that the kernel gives them empty. Where it
 * cannot, the pid tells.
 */
#include "config.h"

#include "copy.h"

#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

static atomic_uint *make_page(void)
{
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (page != MAP_FAILED && madvise(page, size, MADV_WIPEONFORK) < 0) {
        munmap(page, size);
        page = MAP_FAILED;
    }
    return page;
}

uint32_t afork__copy_number(void)
{
    static _Atomic(atomic_uint *) the_page;
    static atomic_uint last; /* the same in a copy, until that asks */
    atomic_uint *page = atomic_load(&the_page), *none = NULL;

    if (!page) {
        page = make_page();
        if (!atomic_compare_exchange_strong(&the_page, &none, page)) {
            if (page != MAP_FAILED)
                munmap(page, (size_t)sysconf(_SC_PAGESIZE));
            page = none; /* another thread was first */
        }
    }
    if (page == MAP_FAILED)
        return (uint32_t)getpid();
    unsigned number = atomic_load_explicit(page, memory_order_relaxed);
    if (!number) {
        unsigned empty = 0;
        number = atomic_fetch_add(&last, 1) + 1;
        if (!atomic_compare_exchange_strong(page, &empty, number))
            number = empty;
    }
    return number;
}
