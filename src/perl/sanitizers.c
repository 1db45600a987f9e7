/* SPDX-License-Identifier: MIT
 *
 * Part of servers in a build with sanitizers only. The sanitizer's library looks for this function.
 *
 * Perl does not release what ends with the process anyway; and a server that a signal kills must be
 * seen to have been killed by it, also when the sanitizer would have more to say.
 */
__attribute__((visibility("default"))) const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
    return "detect_leaks=0:handle_segv=0:handle_sigbus=0";
}
