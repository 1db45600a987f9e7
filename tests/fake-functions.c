/* SPDX-License-Identifier: MIT
 *
 * The functions that the fake server can run. Each ends the process by returning.
 */
#include "fake-server.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static void put(int fd, const void *data, size_t len)
{
    for (const char *pos = data; len;) {
        ssize_t n = write(fd, pos, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            _exit(1);
        pos += n;
        len -= (size_t)n;
    }
}

static G_GNUC_PRINTF(2, 3) void say(int fd, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    put(fd, text, strlen(text));
}

static const char *argument(const struct fake_state *state, guint i)
{
    return i < state->items->len ? g_array_index(state->items, struct fake_item, i).data : "";
}

/* Sends back what comes, until the end. */
static void echo(const struct fake_state *state)
{
    static char buffer[65536];
    ssize_t got;

    while ((got = read(state->channel, buffer, sizeof buffer)) > 0)
        put(state->channel, buffer, (size_t)got);
}

/* The same, with the smallest buffer for what goes out. */
static void echo_small(const struct fake_state *state)
{
    const int one = 1;

    setsockopt(state->channel, SOL_SOCKET, SO_SNDBUF, &one, sizeof one);
    echo(state);
}

/* Tells what was evaluated and what the arguments are. */
static void dump(const struct fake_state *state)
{
    put(state->channel, state->code->str, state->code->len);
    for (guint i = 0; i < state->items->len; i++) {
        struct fake_item item = g_array_index(state->items, struct fake_item, i);
        struct stat st = {0};
        if (!item.is_handle) {
            say(state->channel, "arg %s\n", item.data);
            continue;
        }
        fstat(item.fd, &st);
        say(state->channel, "fd %lu:%lu\n", (unsigned long)st.st_dev, (unsigned long)st.st_ino);
    }
}

/* Tells length and checksum of each argument, for long ones. */
static void digest(const struct fake_state *state)
{
    for (guint i = 0; i < state->items->len; i++) {
        struct fake_item item = g_array_index(state->items, struct fake_item, i);
        g_autofree char *sum = g_compute_checksum_for_data(G_CHECKSUM_MD5,
                                                           (const guchar *)item.data, item.len);
        say(state->channel, "%zu %s\n", item.len, sum);
    }
}

/* Tells the flags of the channel and of all handles. */
static void flags(const struct fake_state *state)
{
    say(state->channel, "channel %d %d %d\n", state->channel, fcntl(state->channel, F_GETFL),
        fcntl(state->channel, F_GETFD));
    for (guint i = 0; i < state->items->len; i++) {
        int fd = g_array_index(state->items, struct fake_item, i).fd;
        if (fd >= 0)
            say(state->channel, "handle %d %d %d\n", fd, fcntl(fd, F_GETFL), fcntl(fd, F_GETFD));
    }
}

/* Tells all open descriptors and what they are. */
static void descriptors(const struct fake_state *state)
{
    DIR *dir = opendir("/proc/self/fd");

    for (struct dirent *entry; (entry = readdir(dir));) {
        g_autofree char *path = g_strdup_printf("/proc/self/fd/%s", entry->d_name);
        g_autofree char *target = g_file_read_link(path, NULL);
        if (target && atoi(entry->d_name) != dirfd(dir))
            say(state->channel, "%s %s\n", entry->d_name, target);
    }
    closedir(dir);
}

/* Tells what the kernel knows of its process: signal masks among it. */
static void status(const struct fake_state *state)
{
    g_autofree char *text = NULL;

    if (g_file_get_contents("/proc/self/status", &text, NULL, NULL))
        put(state->channel, text, strlen(text));
}

/* Tells the argument vector it was started with, the environment and the working directory. */
static void surroundings(const struct fake_state *state)
{
    g_autofree char *directory = g_get_current_dir();
    g_autofree char *text = NULL;
    gsize len;

    if (g_file_get_contents("/proc/self/cmdline", &text, &len, NULL))
        for (gsize pos = 0; pos < len; pos += strlen(text + pos) + 1)
            say(state->channel, "argv %s\n", text + pos);
    g_auto(GStrv) environment = g_get_environ();
    for (char **variable = environment; *variable; variable++)
        say(state->channel, "env %s\n", *variable);
    say(state->channel, "cwd %s\nsession %d\n", directory, getsid(0) == getpid());
}

/* Writes as many octets as the argument says, and ends at once. */
static void flood(const struct fake_state *state)
{
    size_t len = strtoul(argument(state, 0), NULL, 10);
    g_autofree char *data = g_malloc0(len + 1);

    put(state->channel, data, len);
}

static void do_return(const struct fake_state *state)
{
}

static void do_exit(const struct fake_state *state)
{
    _exit(atoi(argument(state, 0)));
}

static void do_kill(const struct fake_state *state)
{
    kill(getpid(), atoi(argument(state, 0)));
}

/* Closes the channel and lives on. */
static void silent(const struct fake_state *state)
{
    close(state->channel);
    fake_hang();
}

/* Ends when the channel does, whatever comes. */
static void hold(const struct fake_state *state)
{
    char octet;

    while (read(state->channel, &octet, 1) > 0)
        ;
}

static void hang(const struct fake_state *state)
{
    fake_hang();
}

/* Leaves a plain child behind that holds the channel. */
static void grandchild(const struct fake_state *state)
{
    pid_t pid = fork();

    if (!pid) {
        hold(state);
        _exit(0);
    }
    say(state->channel, "%d\n", pid);
}

/* Leaves a plain child behind that writes a lot to standard error for each octet that it sends
 * back. */
static void noisy_grandchild(const struct fake_state *state)
{
    static char noise[100000];
    char octet;

    if (fork())
        return;
    memset(noise, 'x', sizeof noise);
    while (read(state->channel, &octet, 1) > 0) {
        put(STDERR_FILENO, noise, sizeof noise);
        put(state->channel, &octet, 1);
    }
    _exit(0);
}

/* When told to, writes as many octets as the argument says to a pipe of standard error that takes
 * them all, and tells whether it could be made so. */
static void last_words(const struct fake_state *state)
{
    size_t len = strtoul(argument(state, 0), NULL, 10);
    g_autofree char *data = g_malloc0(len + 1);

    if (read(state->channel, data, 1) != 1 ||
        fcntl(STDERR_FILENO, F_SETPIPE_SZ, (int)len) < (int)len)
        return;
    memset(data, 'x', len);
    memcpy(data + len - 4, "last", 4);
    put(STDERR_FILENO, data, len);
    put(state->channel, "y", 1);
}

/* Leaves a program behind, which must not get the channel. */
static void background(const struct fake_state *state)
{
    pid_t pid = fork();

    if (!pid) {
        execlp("sleep", "sleep", "60", NULL);
        _exit(127);
    }
    say(state->channel, "%d\n", pid);
}

void fake_hang(void)
{
    alarm(60);
    for (;;)
        pause();
}

fake_function *fake_find_function(const char *name)
{
    static const struct {
        const char *name;
        fake_function *function;
    } functions[] = {
        {"background", background},
        {"descriptors", descriptors},
        {"digest", digest},
        {"dump", dump},
        {"echo", echo},
        {"echo-small", echo_small},
        {"exit", do_exit},
        {"flags", flags},
        {"flood", flood},
        {"grandchild", grandchild},
        {"hang", hang},
        {"hold", hold},
        {"kill", do_kill},
        {"last-words", last_words},
        {"noisy-grandchild", noisy_grandchild},
        {"return", do_return},
        {"silent", silent},
        {"status", status},
        {"surroundings", surroundings},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(functions); i++)
        if (g_str_equal(functions[i].name, name))
            return functions[i].function;
    return NULL;
}
