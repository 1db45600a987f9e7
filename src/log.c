/* SPDX-License-Identifier: MIT
 *
 * See afork-log.h.
 */
#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"
#include "util.h"

enum { MESSAGE_SIZE = 512, EXCERPT = 60 };

static const struct {
    const char *name;
    enum afork_log_topic topic;
} topics[] = {
    {"spawn", AFORK_LOG_SPAWN},
    {"wire", AFORK_LOG_WIRE},
    {"pool", AFORK_LOG_POOL},
};

enum { N_TOPICS = sizeof topics / sizeof *topics };

static unsigned all_topics(void)
{
    unsigned all = 0;

    for (size_t i = 0; i < N_TOPICS; i++)
        all |= topics[i].topic;
    return all;
}

static unsigned topics_of_word(const char *word, size_t len)
{
    if (len == strlen("all") && !memcmp(word, "all", len))
        return all_topics();
    for (size_t i = 0; i < N_TOPICS; i++)
        if (len == strlen(topics[i].name) && !memcmp(word, topics[i].name, len))
            return topics[i].topic;
    return 0;
}

unsigned afork_log_topics(const char *list)
{
    static const char separators[] = ", ";
    unsigned mask = 0;

    for (size_t len; list && *list; list += len) {
        list += strspn(list, separators);
        len = strcspn(list, separators);
        mask |= topics_of_word(list, len);
    }
    return mask;
}

const char *afork_log_topic_name(enum afork_log_topic topic)
{
    for (size_t i = 0; i < N_TOPICS; i++)
        if (topics[i].topic == topic)
            return topics[i].name;
    return NULL;
}

static void to_standard_error(enum afork_log_topic topic, const char *message, void *data)
{
    int64_t now = afork__now();

    (void)data;
    dprintf(STDERR_FILENO, "afork[%ld] %lld.%06lld %s: %s\n", (long)getpid(),
            (long long)(now / AFORK__USEC_PER_SEC), (long long)(now % AFORK__USEC_PER_SEC),
            afork_log_topic_name(topic), message);
}

void afork__log_init(struct afork__log *log)
{
    *log = (struct afork__log){
        .topics = afork_log_topics(secure_getenv("AFORK_DEBUG")),
        .cb = to_standard_error,
    };
}

int afork_context_set_log(struct afork_context *context, unsigned wanted, afork_log_cb *cb,
                          void *data)
{
    int result = afork__context_check(context);

    if (result < 0)
        return result;
    if (wanted & ~all_topics())
        return -EINVAL;
    afork__log_init(&context->log);
    context->log.topics |= wanted;
    if (cb) {
        context->log.cb = cb;
        context->log.data = data;
    }
    return 0;
}

static void make_printable(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '.';
}

void afork__log_line(struct afork_context *context, enum afork_log_topic topic, const char *format,
                     ...)
{
    char message[MESSAGE_SIZE];
    int saved = errno;
    va_list args;

    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    make_printable(message);
    context->log.cb(topic, message, context->log.data);
    errno = saved;
}

static const char *command_name(uint8_t command)
{
    switch ((enum afork__command)command) {
    case AFORK__EVAL:
        return "eval";
    case AFORK__ARGS:
        return "arguments";
    case AFORK__HANDLE:
        return "descriptor";
    case AFORK__FORK:
    case AFORK__FORK_AS:
        return "fork";
    case AFORK__RUN:
        return "run";
    case AFORK__EXIT_MODE:
        return "exit mode";
    case AFORK__END_WITH_HOST:
        return "end with host";
    case AFORK__LIMITS:
        return "limits";
    case AFORK__GIVE_UP:
        return "give up spares";
    case AFORK__DETACH:
        return "detach";
    case AFORK__ATTACH:
        return "attach";
    }
    return "octets";
}

void afork__log_frame(struct afork_process *process, const uint8_t *frame, size_t len)
{
    const uint8_t *payload = frame + AFORK__HEADER_SIZE;
    struct afork__strings list = {payload, frame + len};
    const void *text = payload;
    size_t text_len = 0;

    if (*frame == AFORK__RUN)
        text_len = len - AFORK__HEADER_SIZE;
    else if (*frame == AFORK__EVAL)
        afork__strings_next(&list, &text, &text_len);
    afork__log(process->context, WIRE, "to " AFORK__LOG_NAME ": %s, %zu octets%s%.*s",
               AFORK__LOG_NAME_OF(process), command_name(*frame), len - AFORK__HEADER_SIZE,
               text_len ? ": " : "", text_len < EXCERPT ? (int)text_len : EXCERPT,
               (const char *)text);
}

void afork__log_record(struct afork_context *context, const struct afork__status *status)
{
    static const char *const names[] = {
        [AFORK__HELLO] = "hello, version",  [AFORK__FORKED] = "forked",
        [AFORK__ENTERED] = "entered",       [AFORK__ERROR] = "error",
        [AFORK__EXITED] = "reaped, status", [AFORK__WARNING] = "warning",
    };

    afork__log(context, WIRE, "from #%llu/%ld: %s %lu%s%.*s", (unsigned long long)status->identity,
               (long)status->pid, names[status->type], (unsigned long)status->value,
               status->text_len ? ": " : "", (int)status->text_len, status->text);
}
