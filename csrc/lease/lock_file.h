/* lock_file: a file that is locked as a whole by flock(2). The lock belongs to the open file: two
 * workers of one process exclude each other, and a forked child that has not called exec keeps the
 * lock of its parent. A lock holds only while its file has its name: when the file was removed and
 * another one has the name, that one is opened and locked. Any thread; one at a time for a file. */
#ifndef KIN_LEASE_LOCK_FILE_H
#define KIN_LEASE_LOCK_FILE_H

#include <stdbool.h>

typedef enum {
  KIN_LOCK_TAKEN,
  KIN_LOCK_BUSY,   /* another process, or worker, has it */
  KIN_LOCK_FAILED, /* errno says why */
} kin_lock_outcome;

/* Whether the open file is the one of that name in the folder. Keeps errno. */
bool kin_lock_file_is_named(int file, int folder, const char *name);

/* Locks the file of that name in the folder, which it creates when it is not there. `file`: -1, or
 * open from an earlier call. Does not wait. */
kin_lock_outcome kin_lock_file_take(int *file, int folder, const char *name);

/* Creates a locked file, which has its name only once it is locked: it is never seen unlocked.
 * `fresh`: the name until then, under which another process may remove it; then it is created anew.
 * -1: errno says why. */
int kin_lock_file_create(int folder, const char *fresh, const char *name);

/* Whether a process has the file locked; true when that is not known, as when there is none. */
bool kin_lock_file_is_locked(int folder, const char *name);

#endif
