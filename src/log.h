/* SPDX-License-Identifier: MIT
 *
 * What happens, told to whoever wants to know. Costs a comparison where nobody does.
 */
#ifndef AFORK_LOG_PRIVATE_H
#define AFORK_LOG_PRIVATE_H

#include "afork-log.h"
#include "status.h"
#include "wire.h"

struct afork__log {
    unsigned topics; /* those that are wanted */
    afork_log_cb *cb;
    void *data;
};

/* With what AFORK_DEBUG says. */
void afork__log_init(struct afork__log *log);

/* afork__log(context, TOPIC, format, ...): arguments are not evaluated where nobody wants them. */
#define afork__log(context, topic, ...)                                                            \
    do {                                                                                           \
        if ((context)->log.topics & AFORK_LOG_##topic)                                             \
            afork__log_line(context, AFORK_LOG_##topic, __VA_ARGS__);                              \
    } while (0)

void afork__log_line(struct afork_context *context, enum afork_log_topic topic, const char *format,
                     ...) __attribute__((format(printf, 3, 4)));

/* A process in a message: "#" and its number in the context, and its pid, 0 as long as that is
 * not known. */
#define AFORK__LOG_NAME "#%llu/%ld"
#define AFORK__LOG_NAME_OF(process) (unsigned long long)(process)->identity, (long)(process)->pid

/* Messages for more than one place. */
void afork__log_frame(struct afork_process *process, const uint8_t *frame, size_t len);
void afork__log_record(struct afork_context *context, const struct afork__status *status);

#endif
