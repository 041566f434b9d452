/* folder: where the file store of one application keeps its files, and its locks:
 *
 *   FOLDER/APPLICATION.json         the table; replaced by rename, after an fsync
 *   FOLDER/APPLICATION.lock         locked while the table is changed; never replaced
 *   FOLDER/APPLICATION.workers/ID   locked by the worker ID for its life
 *
 * What was removed by hand is made again, the folder included. Files are named from the open
 * folder, so that a worker that still has a removed one open can write nothing into its successor.
 * Engine thread, but for opening. */
#ifndef KIN_LEASE_FOLDER_H
#define KIN_LEASE_FOLDER_H

#include "base/error.h"
#include "lease/lock_file.h"

typedef struct kin_lease_folder {
  char *path; /* absolute: it stays the same when the process changes its directory */
  char *table, *fresh_table, *lock_name, *workers, *life_name, *fresh_life; /* in the folder */
  char *worker;
  int folder, lock, life; /* open files; -1: none */
} kin_lease_folder;

/* Creates what is not there, and locks the worker's file. False: the error says why; the folder is
 * to be closed in any case. Lua thread. */
bool kin_lease_folder_open(kin_lease_folder *folder, kin_slice path, kin_slice application,
                           kin_slice worker, kin_error *error);

/* `leaves_life`: the file of the worker stays, unlocked, so that others know that it is dead. */
void kin_lease_folder_close(kin_lease_folder *folder, bool leaves_life);

/* Makes again what was removed. `moved`: it is another folder than before. False: the folder cannot
 * be used now, or at all. */
bool kin_lease_folder_check(kin_lease_folder *folder, bool *moved, kin_error *error);

/* The lock of the table; see lock_file.h. */
kin_lock_outcome kin_lease_folder_lock(kin_lease_folder *folder);
void kin_lease_folder_unlock(kin_lease_folder *folder);

/* Whether the lock that was taken still holds: its file was not removed. */
bool kin_lease_folder_has_lock(const kin_lease_folder *folder);

/* Whether a worker lives, or may. */
bool kin_lease_folder_is_alive(const kin_lease_folder *folder, kin_slice worker);

/* Removes the files of the dead workers that own nothing. */
void kin_lease_folder_clean(kin_lease_folder *folder,
                            bool (*owns)(const void *user, kin_slice worker), const void *user);

/* Sets the error of what was tried with a file of the folder, of errno, and what to do about it.
 * Errors that no waiting will mend are fatal. */
void kin_lease_folder_fail(const kin_lease_folder *folder, const char *name, const char *tried,
                           kin_error *error);

#endif
