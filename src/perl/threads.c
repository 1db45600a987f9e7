/* SPDX-License-Identifier: MIT
 *
 * Counting threads. A forked process has only the thread that forked; what the others held locked
 * stays locked there. So a template should have no other, and if it has, its user should hear which
 * command brought them. Knows nothing of Perl.
 */
#include "threads.h"

#include <string.h>
#include <sys/stat.h>

unsigned afork__threads_count(void)
{
    struct stat info;

    /* Each thread is a folder there, and links to it. */
    if (stat("/proc/self/task", &info) < 0 || info.st_nlink < 3)
        return 1;
    return (unsigned)info.st_nlink - 2;
}

void afork__threads_note(struct afork__threads *threads, const char *code, size_t len)
{
    unsigned count = afork__threads_count();

    if (count > threads->count && count > 1) {
        const char *end = memchr(code, '\n', len);
        if (end)
            len = (size_t)(end - code);
        if (len > AFORK__THREADS_LABEL_MAX)
            len = AFORK__THREADS_LABEL_MAX;
        memcpy(threads->label, code, len);
        threads->label[len] = '\0';
    }
    threads->count = count;
}

bool afork__threads_rose(struct afork__threads *threads)
{
    afork__threads_note(threads, "the last command", strlen("the last command"));
    bool rose = threads->count > 1 && threads->count > threads->warned;
    threads->warned = threads->count;
    return rose;
}
