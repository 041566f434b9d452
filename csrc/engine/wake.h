/* wake: a descriptor that becomes readable when another thread writes the wake. On its way to a
 * waiting coroutine an answer passes the mailbox, its wake, the adapter of the host
 * (lua/kinesis/wait/blocking.lua, openresty.lua, luv.lua) and the drain (wait/registry.lua).
 *
 * nginx can only wait on a connection that it has made itself. For such a host the wake listens on
 * a unix path, the host connects, and later wakes are also sent there. */
#ifndef KIN_ENGINE_WAKE_H
#define KIN_ENGINE_WAKE_H

#include <stdbool.h>

typedef struct kin_wake {
  int readable; /* for poll */
  int writable; /* the same eventfd, or the other end of a pipe */
  int listener; /* -1: not listening */
  int peer;     /* the host's connection, or -1 */
  char path[108];
} kin_wake;

bool kin_wake_open(kin_wake *wake);
void kin_wake_close(kin_wake *wake);

/* Any thread. */
void kin_wake_write(const kin_wake *wake);

/* The waiting thread, before it takes what was posted. */
void kin_wake_clear(const kin_wake *wake);

/* The waiting thread. A path to connect to, in a new directory of `folder` that only this user may
 * enter; NULL and errno on error. */
const char *kin_wake_listen(kin_wake *wake, const char *folder);

/* The waiting thread, directly after the host has connected: accepts the connection and removes
 * the path. Refuses peers of other processes. */
bool kin_wake_accept(kin_wake *wake);

#endif
