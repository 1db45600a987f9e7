/* SPDX-License-Identifier: MIT
 *
 * A server that speaks the wire protocol without Perl, for tests of the core, and misbehaves on
 * request. It takes perl's arguments, so that it can be the `perl` of a context.
 *
 * Evaluated "code" is kept, as what a fork copies, and its first word may be an order:
 *
 *   exit STATUS, kill SIGNAL, stop, hang    end or stop itself
 *   ignore SIGNAL                           from now on
 *   die TEXT                                as code that died
 *   error PHASE TEXT                        a record of that phase; and goes on
 *   warn TEXT                               a warning
 *   say TEXT, say-nul TEXT                  a line on standard error, after a NUL
 *   hello VERSION, no-hello                 the introduction; at the start only
 *   entered, hello-again, garbage, orphan PID   records out of place
 *   fork-fails                              from now on
 *   late MSEC                               children wait before they say that they are there
 *   chunk SIZE                              octets in one read of the command socket, from now on
 *   close                                   the command socket
 *
 * The environment variable AFORK_FAKE is code that is evaluated before the introduction.
 *
 * Limits are kept as code is, in words.
 *
 * Modules named Missing* cannot be loaded. The functions are listed in fake-functions.c.
 */
#include "fake-server.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fdpass.h"
#include "limit-set.h"
#include "status.h"
#include "wire.h"

struct child {
    pid_t pid;
    uint64_t identity;
};

static struct {
    struct fake_state state;
    int status_fd; /* -1: of the original kind, which does not report */
    uint64_t identity;
    bool is_root, no_hello, fork_fails;
    uint32_t hello_version;
    size_t chunk;
    long late_msec;
    struct afork__fd_queue fds;
    GArray *children;
    sigset_t waiting_mask; /* SIGCHLD is blocked but while waiting */
} self = {.status_fd = -1, .hello_version = AFORK__PROTOCOL_VERSION, .chunk = 65536};

static void send_octets(const void *data, size_t len)
{
    while (self.status_fd >= 0 &&
           send(self.status_fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        struct pollfd room = {.fd = self.status_fd, .events = POLLOUT};
        if (errno != EAGAIN)
            _exit(1); /* the host is gone */
        poll(&room, 1, -1);
    }
}

static void report(struct afork__status status)
{
    uint8_t record[AFORK__RECORD_MAX];

    size_t size = afork__status_encode(&status, record);
    size_t text_len = MIN(status.text_len, AFORK__RECORD_TEXT_MAX);
    if (text_len)
        memcpy(record + size, status.text, text_len);
    send_octets(record, size + text_len);
}

static void report_self(enum afork__record type, enum afork__phase phase, const char *text)
{
    report((struct afork__status){.type = type,
                                  .phase = phase,
                                  .identity = self.identity,
                                  .pid = (uint32_t)getpid(),
                                  .text = text,
                                  .text_len = text ? strlen(text) : 0});
}

static void say_hello(void)
{
    report((struct afork__status){.type = AFORK__HELLO,
                                  .identity = self.identity,
                                  .pid = (uint32_t)getpid(),
                                  .value = self.hello_version});
}

static G_GNUC_NORETURN void fail(enum afork__phase phase, const char *text)
{
    report_self(AFORK__ERROR, phase, text);
    _exit(255);
}

static uint64_t take_child(pid_t pid)
{
    for (guint i = 0; i < self.children->len; i++) {
        struct child child = g_array_index(self.children, struct child, i);
        if (child.pid == pid) {
            g_array_remove_index_fast(self.children, i);
            return child.identity;
        }
    }
    return 0;
}

/* Reports, then reaps, all children that ended. Returns whether any child is left. */
static bool reap(void)
{
    for (;;) {
        siginfo_t info = {0};
        struct rusage usage;
        int status;

        if (syscall(SYS_waitid, P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT, &usage) < 0)
            return false;
        if (!info.si_pid)
            return true;
        status = info.si_code == CLD_EXITED ? info.si_status << 8 : info.si_status;
        report((struct afork__status){.type = AFORK__EXITED,
                                      .identity = take_child(info.si_pid),
                                      .pid = (uint32_t)info.si_pid,
                                      .value = (uint32_t)status,
                                      .usage = usage});
        waitpid(info.si_pid, NULL, 0);
    }
}

static void end_child(uint64_t identity)
{
    for (guint i = 0; i < self.children->len; i++) {
        struct child child = g_array_index(self.children, struct child, i);
        siginfo_t info;
        if (child.identity != identity)
            continue;
        kill(child.pid, SIGKILL);
        waitid(P_PID, (id_t)child.pid, &info, WEXITED | WNOWAIT);
        reap();
        return;
    }
}

/* Waits for the command socket, or with -1 for the next child; reaps meanwhile. Returns false when
 * no child is left to wait for. */
static bool wait_for(int fd)
{
    for (;;) {
        struct pollfd fds[] = {{.fd = fd, .events = POLLIN}, {.fd = self.status_fd}};
        bool children = reap();

        if (fd < 0 && !children)
            return false;
        int n = ppoll(fds, 2, NULL, &self.waiting_mask);
        if (n > 0 && fds[1].revents & POLLHUP)
            _exit(0); /* the host is gone */
        if (n > 0)
            return true;
    }
}

static G_GNUC_NORETURN void end_of_file(void)
{
    close(self.state.channel);
    if (self.is_root && self.status_fd >= 0)
        while (wait_for(-1))
            ;
    _exit(0);
}

static void receive(void *data, size_t len)
{
    for (char *pos = data; len;) {
        wait_for(self.state.channel);
        ssize_t got = afork__fd_receive(self.state.channel, pos, MIN(len, self.chunk), &self.fds,
                                        MSG_DONTWAIT);
        if (got == -EAGAIN)
            continue;
        if (got == 0)
            end_of_file();
        if (got < 0)
            fail(AFORK__PHASE_PROTOCOL, g_strerror((int)-got));
        pos += got;
        len -= (size_t)got;
    }
}

/* Orders with a number; returns whether `word` is one. */
static bool obey_number(const char *word, long number)
{
    if (g_str_equal(word, "exit"))
        _exit((int)number);
    else if (g_str_equal(word, "kill"))
        kill(getpid(), (int)number);
    else if (g_str_equal(word, "ignore"))
        signal((int)number, SIG_IGN);
    else if (g_str_equal(word, "hello"))
        self.hello_version = (uint32_t)number;
    else if (g_str_equal(word, "chunk"))
        self.chunk = (size_t)number;
    else if (g_str_equal(word, "late"))
        self.late_msec = number;
    else if (g_str_equal(word, "orphan"))
        report((struct afork__status){.type = AFORK__EXITED, .pid = (uint32_t)number});
    else
        return false;
    return true;
}

static void obey(const char *code)
{
    g_auto(GStrv) words = g_strsplit(code, " ", 2);
    const char *word = words[0] ? words[0] : "", *rest = words[0] && words[1] ? words[1] : "";
    char *text;
    long number = strtol(rest, &text, 10);

    if (obey_number(word, number))
        return;
    if (g_str_equal(word, "stop"))
        raise(SIGSTOP);
    else if (g_str_equal(word, "hang"))
        fake_hang();
    else if (g_str_equal(word, "die"))
        fail(AFORK__PHASE_EVAL, rest);
    else if (g_str_equal(word, "error"))
        report_self(AFORK__ERROR, (enum afork__phase)number, *text ? text + 1 : text);
    else if (g_str_equal(word, "warn"))
        report_self(AFORK__WARNING, AFORK__PHASE_NONE, rest);
    else if (g_str_equal(word, "say"))
        dprintf(STDERR_FILENO, "%s\n", rest);
    else if (g_str_equal(word, "say-nul"))
        dprintf(STDERR_FILENO, "%c%s\n", 0, rest);
    else if (g_str_equal(word, "no-hello"))
        self.no_hello = true;
    else if (g_str_equal(word, "entered"))
        report_self(AFORK__ENTERED, AFORK__PHASE_NONE, NULL);
    else if (g_str_equal(word, "hello-again"))
        say_hello();
    else if (g_str_equal(word, "garbage"))
        send_octets("garbage", 7);
    else if (g_str_equal(word, "fork-fails"))
        self.fork_fails = true;
    else if (g_str_equal(word, "close"))
        close(self.state.channel);
}

static void evaluate(struct afork__strings list)
{
    const void *data;
    size_t len;
    bool first = true, load = false;

    for (; afork__strings_next(&list, &data, &len) == 1; first = false) {
        g_autofree char *text = g_strndup(data, len);
        if (first)
            load = g_str_equal(text, AFORK__REQUIRE_CODE);
        else if (load && g_str_has_prefix(text, "Missing"))
            fail(AFORK__PHASE_REQUIRE, "Can't locate Missing.pm in @INC");
        g_string_append_printf(self.state.code, "%s %s\n", first ? "code" : "with", text);
        if (first)
            obey(text);
    }
}

static void append_item(bool is_handle, const void *data, size_t len, int fd)
{
    struct fake_item item = {.is_handle = is_handle, .fd = fd, .len = len};

    item.data = g_malloc(len + 1);
    if (len)
        memcpy(item.data, data, len);
    item.data[len] = '\0';
    g_array_append_val(self.state.items, item);
}

static void append_strings(struct afork__strings list)
{
    const void *data;
    size_t len;
    int result;

    while ((result = afork__strings_next(&list, &data, &len)) == 1)
        append_item(false, data, len, -1);
    if (result < 0)
        fail(AFORK__PHASE_PROTOCOL, "malformed list");
}

static void append_handle(void)
{
    char octet;

    receive(&octet, 1);
    int fd = afork__fd_queue_take(&self.fds);
    if (fd < 0)
        fail(AFORK__PHASE_PROTOCOL, "a handle is missing");
    append_item(true, NULL, 0, fd);
}

static int take_last_handle(void)
{
    guint n = self.state.items->len;

    if (!n)
        fail(AFORK__PHASE_PROTOCOL, "fork without a socket");
    struct fake_item item = g_array_index(self.state.items, struct fake_item, n - 1);
    g_array_set_size(self.state.items, n - 1);
    g_free(item.data);
    return item.fd;
}

/* Closes it. */
static bool is_pipe(int fd)
{
    struct stat st;
    bool result = fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);

    close(fd);
    return result;
}

/* Limits are kept as a line of code that tells them. */
static void keep_limits(const uint8_t *payload, uint32_t len)
{
    struct afork__limit_set set;
    const void *path;
    size_t path_len;

    if (afork__limit_set_decode(payload, len, &set) < 0)
        fail(AFORK__PHASE_PROTOCOL, "malformed limits");
    g_string_append_printf(self.state.code, "limits flags %x nice %u", (unsigned)set.flags,
                           (unsigned)set.nice);
    for (size_t i = 0; i < AFORK__N_LIMITS; i++)
        g_string_append_printf(self.state.code, " %" G_GUINT64_FORMAT, set.values[i]);
    while (afork__strings_next(&set.paths, &path, &path_len) == 1)
        g_string_append_printf(self.state.code, " %.*s", (int)path_len, (const char *)path);
    g_string_append_c(self.state.code, '\n');
}

static void fork_child(uint64_t identity, unsigned flags)
{
    int fd = take_last_handle();
    int error_fd = flags & AFORK__FORK_STDERR ? take_last_handle() : -1;
    pid_t pid = self.fork_fails ? -1 : fork();

    if (pid < 0) {
        report((struct afork__status){.type = AFORK__ERROR,
                                      .phase = AFORK__PHASE_FORK,
                                      .identity = identity,
                                      .text = "out of processes",
                                      .text_len = 16});
        close(fd);
    } else if (pid > 0) {
        struct child child = {pid, identity};
        g_array_append_val(self.children, child);
        close(fd);
    } else {
        close(self.state.channel);
        self.state.channel = fd;
        if (error_fd >= 0)
            dup2(error_fd, STDERR_FILENO);
        self.identity = identity;
        self.is_root = false;
        g_array_set_size(self.children, 0);
        poll(NULL, 0, (int)self.late_msec);
        report_self(AFORK__FORKED, AFORK__PHASE_NONE, NULL);
    }
    if (error_fd >= 0)
        close(error_fd);
}

static void set_root(bool root)
{
    self.is_root = root;
    prctl(PR_SET_CHILD_SUBREAPER, root);
    g_array_set_size(self.children, 0); /* nobody is told of those there are */
}

static void detach(uint8_t flags)
{
    if (self.status_fd < 0)
        fail(AFORK__PHASE_PROTOCOL, "unknown command");
    if (flags & AFORK__DETACH_STDERR) {
        int fd = take_last_handle();
        dup2(fd, STDERR_FILENO);
        close(fd);
    }
    report_self(AFORK__ENTERED, AFORK__PHASE_NONE, NULL);
    close(self.status_fd);
    self.status_fd = -1;
    set_root(false);
}

static void attach(const uint8_t *payload)
{
    int fd = take_last_handle();

    int old_fd = self.status_fd;
    uint64_t old_identity = self.identity;

    self.status_fd = fd;
    memcpy(&self.identity, payload, sizeof self.identity);
    if (old_fd >= 0) { /* the stranger is told first: the host shuts the socket down */
        report_self(AFORK__ERROR, AFORK__PHASE_PROTOCOL, "it has a host");
        self.status_fd = old_fd;
        self.identity = old_identity;
        fail(AFORK__PHASE_PROTOCOL, "it has a host");
    }
    set_root(true);
    say_hello();
}

static G_GNUC_NORETURN void run(const char *name)
{
    fake_function *function = fake_find_function(name);

    if (!function) {
        g_autofree char *text = g_strdup_printf("Undefined subroutine &main::%s called", name);
        fail(AFORK__PHASE_FUNCTION, text);
    }
    report_self(AFORK__ENTERED, AFORK__PHASE_NONE, NULL);
    if (self.status_fd >= 0)
        close(self.status_fd);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
    signal(SIGCHLD, SIG_DFL);
    sigprocmask(SIG_SETMASK, &self.waiting_mask, NULL);
    function(&self.state);
    _exit(0);
}

static void command(uint8_t letter, const uint8_t *payload, uint32_t len)
{
    struct afork__strings list = {payload, payload + len};
    uint64_t identity = 0;

    switch (letter) {
    case AFORK__EVAL:
        evaluate(list);
        break;
    case AFORK__ARGS:
        append_strings(list);
        break;
    case AFORK__HANDLE:
        append_handle();
        break;
    case AFORK__FORK_AS:
        if (len != AFORK__FORK_AS_SIZE)
            fail(AFORK__PHASE_PROTOCOL, "malformed fork");
        memcpy(&identity, payload, sizeof identity);
        fork_child(identity, payload[sizeof identity]);
        break;
    case AFORK__FORK:
        fork_child(0, 0);
        break;
    case AFORK__EXIT_MODE:
        g_string_append_printf(self.state.code, "exit-mode %d\n", len == 1 ? *payload : -1);
        break;
    case AFORK__END_WITH_HOST:
        g_string_append_printf(self.state.code, "lifeline %s\n",
                               is_pipe(take_last_handle()) ? "pipe" : "?");
        break;
    case AFORK__LIMITS:
        keep_limits(payload, len);
        break;
    case AFORK__GIVE_UP:
        for (uint32_t i = 0; i + sizeof identity <= len; i += sizeof identity) {
            memcpy(&identity, payload + i, sizeof identity);
            end_child(identity);
        }
        break;
    case AFORK__DETACH:
        detach(payload[0]);
        break;
    case AFORK__ATTACH:
        attach(payload);
        break;
    case AFORK__RUN:
        run((const char *)payload);
    default:
        fail(AFORK__PHASE_PROTOCOL, "unknown command");
    }
}

static G_GNUC_NORETURN void serve(void)
{
    for (;;) {
        uint8_t header[AFORK__HEADER_SIZE], letter;
        uint32_t len;

        receive(header, sizeof header);
        afork__wire_parse_header(header, &letter, &len);
        g_autofree uint8_t *payload = g_malloc((gsize)len + 1);
        receive(payload, len);
        payload[len] = '\0';
        command(letter, payload, len);
    }
}

static void on_child(int number)
{
}

/* What perl would find behind -e CODE: FD OWNER [STATUS-FD IDENTITY FLAGS]. */
static void parse_arguments(int argc, char **argv)
{
    int i = 1;

    while (i < argc && !g_str_equal(argv[i], "-e"))
        i++;
    if (i + 3 >= argc) {
        g_printerr("usage: fake-server -e CODE FD OWNER [STATUS-FD IDENTITY FLAGS]\n");
        _exit(2);
    }
    self.state.channel = atoi(argv[i + 2]);
    if (i + 5 >= argc)
        return;
    self.status_fd = atoi(argv[i + 4]);
    self.identity = strtoull(argv[i + 5], NULL, 10);
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_child};
    sigset_t child;

    parse_arguments(argc, argv);
    self.state.items = g_array_new(FALSE, FALSE, sizeof(struct fake_item));
    self.state.code = g_string_new(NULL);
    self.children = g_array_new(FALSE, FALSE, sizeof(struct child));
    self.is_root = true;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, &self.waiting_mask);
    sigaction(SIGCHLD, &action, NULL);
    if (self.status_fd >= 0)
        prctl(PR_SET_CHILD_SUBREAPER, 1);

    if (g_getenv("AFORK_FAKE"))
        obey(g_getenv("AFORK_FAKE"));
    if (!self.no_hello)
        say_hello();
    serve();
}
