#define _GNU_SOURCE 1
#include "engine/wake.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/eventfd.h>
#endif

bool kin_wake_open(kin_wake *wake) {
  *wake = (kin_wake){.readable = -1, .writable = -1, .listener = -1, .peer = -1};
#ifdef __linux__
  wake->readable = wake->writable = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  return wake->readable >= 0;
#else
  int ends[2];
  if (pipe(ends) != 0)
    return false;
  for (int i = 0; i < 2; i++) {
    fcntl(ends[i], F_SETFL, O_NONBLOCK);
    fcntl(ends[i], F_SETFD, FD_CLOEXEC);
  }
  wake->readable = ends[0];
  wake->writable = ends[1];
  return true;
#endif
}

static void stop_listening(kin_wake *wake) {
  if (!wake->path[0])
    return;
  if (wake->listener >= 0)
    close(wake->listener);
  wake->listener = -1;
  unlink(wake->path);
  *strrchr(wake->path, '/') = '\0';
  rmdir(wake->path);
  wake->path[0] = '\0';
}

void kin_wake_close(kin_wake *wake) {
  stop_listening(wake);
  if (wake->peer >= 0)
    close(wake->peer);
  if (wake->writable >= 0 && wake->writable != wake->readable)
    close(wake->writable);
  if (wake->readable >= 0)
    close(wake->readable);
  wake->readable = wake->writable = wake->peer = -1;
}

void kin_wake_write(const kin_wake *wake) {
  uint64_t one = 1;
  /* An error means that a wake is already pending. */
  ssize_t written = write(wake->writable, &one, sizeof one);
  (void)written;
  if (wake->peer >= 0)
    send(wake->peer, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void kin_wake_clear(const kin_wake *wake) {
  char bytes[64];
  while (read(wake->readable, bytes, sizeof bytes) == (ssize_t)sizeof bytes)
    continue;
}

const char *kin_wake_listen(kin_wake *wake, const char *folder) {
  static const char pattern[] = "/kinesis-XXXXXX", name[] = "/wake";
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  stop_listening(wake);
  if (strlen(folder) + sizeof pattern + sizeof name > sizeof wake->path) {
    errno = ENAMETOOLONG;
    return NULL;
  }
  strcat(strcpy(wake->path, folder), pattern);
  if (!mkdtemp(wake->path)) {
    wake->path[0] = '\0';
    return NULL;
  }
  strcat(wake->path, name);
  memcpy(address.sun_path, wake->path, sizeof address.sun_path);
  wake->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (wake->listener >= 0 &&
      bind(wake->listener, (struct sockaddr *)&address, sizeof address) == 0 &&
      listen(wake->listener, 1) == 0)
    return wake->path;
  int error = errno;
  stop_listening(wake);
  errno = error;
  return NULL;
}

bool kin_wake_accept(kin_wake *wake) {
  if (wake->listener < 0)
    return false;
  int peer = accept4(wake->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  stop_listening(wake);
  if (peer < 0)
    return false;
#ifdef SO_PEERCRED
  struct ucred owner;
  socklen_t len = sizeof owner;
  if (getsockopt(peer, SOL_SOCKET, SO_PEERCRED, &owner, &len) != 0 || owner.pid != getpid()) {
    close(peer);
    return false;
  }
#endif
  if (wake->peer >= 0)
    close(wake->peer);
  wake->peer = peer;
  return true;
}
