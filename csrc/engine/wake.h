/* wake: a descriptor that becomes readable when another thread has posted something.
 *
 * Where a host can only wait on a connection that it made itself (nginx), the wake listens on a
 * unix path, the host connects, and from then on bytes go there too. */
#ifndef KIN_ENGINE_WAKE_H
#define KIN_ENGINE_WAKE_H

#include <stdbool.h>

typedef struct kin_wake {
  int readable; /* to be polled */
  int writable; /* the same eventfd, or a pipe's other end */
  int listener; /* -1 unless listening */
  int peer;     /* the host's connection, or -1 */
  char path[108];
} kin_wake;

bool kin_wake_open(kin_wake *wake);
void kin_wake_close(kin_wake *wake);

/* Any thread. */
void kin_wake_write(const kin_wake *wake);

/* The waiting thread, before it looks at what was posted. */
void kin_wake_clear(const kin_wake *wake);

/* A path to connect to, in a directory of its own that only this user may enter; NULL and errno on
 * error. `folder`: where that directory is made. */
const char *kin_wake_listen(kin_wake *wake, const char **folder);

/* Right after the host has connected, on the same thread: takes the connection, removes the path.
 * Refuses peers of other processes. */
bool kin_wake_accept(kin_wake *wake);

#endif
