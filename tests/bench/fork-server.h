/* SPDX-License-Identifier: MIT
 *
 * The least of a fork server, for peers: a request is an octet that brings a socket, and a child is
 * forked for each.
 */
#ifndef FORK_SERVER_H
#define FORK_SERVER_H

#include <stdnoreturn.h>

/* Serves requests that come from `socket` until its end, and leaves when all children have ended.
 * Each calls `child`, which must not return, with the socket that came. */
noreturn void fork_server(int socket, void (*child)(int channel, void *data), void *data);

/* Asks the fork server at the other end of `server` for a child. Returns the other end of its
 * socket. */
int fork_server_request(int server);

#endif
