/* SPDX-License-Identifier: MIT
 *
 * How a GLib program sends to and reads from a process that echoes: the same for ours and the peer,
 * which differ in where the socket comes from. Each channel-g*.c is one way, and offers loop_send()
 * and loop_end_echo() besides this.
 */
#ifndef CHANNEL_GLIB_H
#define CHANNEL_GLIB_H

/* Takes the socket, and starts to read. */
void channel_open(int fd);

#endif
