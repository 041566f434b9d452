#define _GNU_SOURCE 1
#include "engine/descriptors.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DESCRIPTORS_MAX = 1 << 20 };

int kin_descriptors_socket(int family, int type, int protocol) {
#ifdef SOCK_CLOEXEC
  return socket(family, type | SOCK_CLOEXEC, protocol);
#else
  int fd = socket(family, type, protocol);
  if (fd >= 0)
    fcntl(fd, F_SETFD, FD_CLOEXEC);
  return fd;
#endif
}

/* ---- what is open ---- */

/* Calls visit(fd) for every open descriptor. */
static void visit_all(void (*visit)(kin_descriptors *descriptors, int fd),
                      kin_descriptors *descriptors) {
  DIR *folder = opendir("/dev/fd"); /* close-on-exec */
  struct dirent *entry;
  while (folder && (entry = readdir(folder)))
    if (entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(folder))
      visit(descriptors, atoi(entry->d_name));
  if (folder)
    closedir(folder);
}

static void note(kin_descriptors *descriptors, int fd) {
  kin_buf *open = &descriptors->open;
  size_t at = (size_t)fd / 8;
  while (!open->failed && open->len <= at)
    kin_buf_add(open, "", 1);
  if (!open->failed)
    open->at[at] = (char)(open->at[at] | 1 << fd % 8);
}

static bool was_open(const kin_descriptors *descriptors, int fd) {
  size_t at = (size_t)fd / 8;
  return at < descriptors->open.len && descriptors->open.at[at] >> fd % 8 & 1;
}

/* One end of a socket pair that this process has created. */
static bool is_pair(int fd) {
  struct sockaddr_storage address;
  socklen_t len = sizeof address;
  if (getpeername(fd, (struct sockaddr *)&address, &len) != 0 || address.ss_family != AF_UNIX ||
      len > sizeof address.ss_family)
    return false; /* no socket, or it has a name */
#ifdef SO_PEERCRED
  struct ucred creator;
  len = sizeof creator;
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &creator, &len) == 0 && creator.pid == getpid();
#else
  return true;
#endif
}

static void mark_new(kin_descriptors *descriptors, int fd) {
  if (!was_open(descriptors, fd) && is_pair(fd))
    fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* ---- public ---- */

void kin_descriptors_init(kin_descriptors *descriptors) {
  descriptors->taken = false;
  kin_buf_init(&descriptors->open, DESCRIPTORS_MAX / 8);
}

void kin_descriptors_free(kin_descriptors *descriptors) {
  kin_buf_free(&descriptors->open);
}

void kin_descriptors_note(kin_descriptors *descriptors) {
  if (descriptors->taken)
    return;
  kin_buf_clear(&descriptors->open);
  visit_all(note, descriptors);
  descriptors->taken = !descriptors->open.failed;
}

void kin_descriptors_mark_new(kin_descriptors *descriptors) {
  if (descriptors->taken)
    visit_all(mark_new, descriptors);
  descriptors->taken = false;
}
