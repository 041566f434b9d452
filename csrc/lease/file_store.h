/* file_store: the leases of one application in one file, for the workers of one machine.
 *
 *   FOLDER/APPLICATION.json         the table; replaced by rename, after an fsync
 *   FOLDER/APPLICATION.lock         locked while the table is changed; never replaced
 *   FOLDER/APPLICATION.workers/ID   locked by the worker ID for its life
 *
 * The locks are those of flock(2), which belong to an open file: two workers of one process exclude
 * each other, and a forked child that has not called exec keeps the lock of its parent's worker.
 * Engine thread, but for creation. */
#ifndef KIN_LEASE_FILE_STORE_H
#define KIN_LEASE_FILE_STORE_H

#include "lease/store.h"

/* Creates the folder if it is not there, and locks the worker's file. NULL, and the error says why.
 * Lua thread. */
kin_lease_store *kin_file_store_create(kin_slice folder, kin_slice application, kin_slice worker,
                                       kin_error *error);

#endif
