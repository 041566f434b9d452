#define _GNU_SOURCE 1
#include "lease/lock_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The file is removed again and again, as by a program that does so in a loop. */
enum { ATTEMPTS_MAX = 10 };

/* Nanoseconds: for so long another process has a file locked to see whether it is, and removes it.
 */
enum { ASKED_FOR = 1000000 };

/* Returns 0, or -1 and errno. */
static int lock(int file, int how) {
  int outcome;
  do
    outcome = flock(file, how | LOCK_NB);
  while (outcome != 0 && errno == EINTR);
  return outcome;
}

static void close_keeping_errno(int file) {
  int reason = errno;
  close(file);
  errno = reason;
}

bool kin_lock_file_is_named(int file, int folder, const char *name) {
  struct stat open_one, named;
  int reason = errno;
  bool is = fstat(file, &open_one) == 0 && fstatat(folder, name, &named, 0) == 0 &&
            open_one.st_ino == named.st_ino && open_one.st_dev == named.st_dev;
  errno = reason;
  return is;
}

kin_lock_outcome kin_lock_file_take(int *file, int folder, const char *name) {
  for (int i = 0; i < ATTEMPTS_MAX; i++) {
    if (*file < 0)
      *file = openat(folder, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*file < 0)
      return KIN_LOCK_FAILED;
    bool taken = lock(*file, LOCK_EX) == 0;
    if (!taken && errno != EWOULDBLOCK)
      return KIN_LOCK_FAILED;
    if (kin_lock_file_is_named(*file, folder, name))
      return taken ? KIN_LOCK_TAKEN : KIN_LOCK_BUSY;
    close(*file);
    *file = -1;
  }
  return KIN_LOCK_BUSY;
}

int kin_lock_file_create(int folder, const char *fresh, const char *name) {
  for (int i = 0; i < ATTEMPTS_MAX; i++) {
    int file = openat(folder, fresh, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0)
      return -1;
    if (lock(file, LOCK_EX) == 0 && renameat(folder, fresh, folder, name) == 0)
      return file;
    close_keeping_errno(file);
    if (errno != EWOULDBLOCK && errno != ENOENT)
      return -1;
    nanosleep(&(struct timespec){0, ASKED_FOR}, NULL); /* before it was locked, it was seen */
  }
  return -1;
}

bool kin_lock_file_is_locked(int folder, const char *name) {
  int file = openat(folder, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW); /* fails for a folder */
  bool is = file < 0 || lock(file, LOCK_SH) != 0; /* shared: others may ask at the same time */
  if (file >= 0)
    close(file);
  return is;
}
