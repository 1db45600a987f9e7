/* SPDX-License-Identifier: MIT
 *
 * What the files of remote processes share: the record, and the state of a start.
 */
#ifndef AFORK_REMOTE_START_H
#define AFORK_REMOTE_START_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "afork-process.h"
#include "afork-remote.h"
#include "deadline.h"
#include "status.h"

enum {
    AFORK__REMOTE_QUOTED_MAX = 200, /* octets of noise that are told */
    AFORK__REMOTE_RANDOM_SIZE = 16,
    AFORK__REMOTE_ANSWER_SIZE = 5,
};

/* The token is this with the random octets as hexadecimal number. Its first octet comes once, so
 * that a search need not go back. */
#define AFORK__REMOTE_TOKEN_FORMAT "<afork:%s>"
enum {
    AFORK__REMOTE_TOKEN_SIZE = sizeof AFORK__REMOTE_TOKEN_FORMAT - sizeof "%s" +
                               2 * AFORK__REMOTE_RANDOM_SIZE
};

/* What copies of a record share. */
struct afork__remote_command {
    unsigned refs;
    char **argv; /* one block with its strings; NULL: `connect` */
    char *words; /* the same for messages */
    afork_remote_connect_cb *connect;
    void *connect_data;
    void (*connect_release)(void *connect_data); /* NULL: none, or no process has it yet */
    int64_t start_timeout;
    size_t noise_max;
    bool strict;
};

enum afork__remote_state {
    AFORK__REMOTE_STARTING, /* the program is sent, the token is looked for */
    AFORK__REMOTE_OBEYING, /* the perl is there: commands are sent, the token is looked for again */
    AFORK__REMOTE_ANSWERING, /* a letter and the length of a text, */
    AFORK__REMOTE_TELLING,   /* the text */
};

struct afork__remote_start {
    struct afork_process *process;
    enum afork__remote_state state;
    pid_t pid; /* of the command; 0 once the process knows it */
    int error; /* the command could not be started, which is to be told */
    int fd;    /* -1: not connected yet */
    struct afork_io *io;
    bool closed; /* the other end has closed it */
    bool broken; /* it takes nothing any more, but may have told why */
    struct afork__turn turn;
    struct afork__deadline deadline;

    char *program;
    size_t program_len, program_sent;
    char token[AFORK__REMOTE_TOKEN_SIZE + 1];
    size_t matched; /* octets of the token */
    size_t noise;   /* octets that came besides */
    size_t quoted_len;
    char quoted[AFORK__REMOTE_QUOTED_MAX];

    size_t got; /* of what follows */
    uint8_t answer[AFORK__REMOTE_ANSWER_SIZE];
    uint32_t text_len;
    char text[AFORK__RECORD_TEXT_MAX];
};

struct afork__remote {
    struct afork__remote_command *command; /* a reference */
    struct afork__remote_start *start;     /* NULL: not run, or its start is over */
    bool reaped;                           /* the command's pid is not ours any more */
};

/* The end of a start: `format`, behind the words for the command, says why; `error` is a negative
 * errno. */
__attribute__((format(printf, 4, 5))) void afork__remote_fail(struct afork_process *process,
                                                              enum afork_cause cause, int error,
                                                              const char *format, ...);

/* Watches the socket of a start, which from now on is the start's. 0 or a negative errno. */
int afork__remote_watch(struct afork__remote_start *start, int fd);

/* Reads about `share` octets of what is there, as long as it is ours. */
void afork__remote_receive(struct afork_process *process, size_t share);

#endif
