/* file_store: the leases of one application in one file, for the workers of one machine; folder.h
 * has the names of the files, and their locks. Only changes take the lock of the table, and wait
 * for it: it is tried again after 2 ms, then after twice as long, 50 ms at most, and for 5 s. A
 * file that is not there is a table without leases. All of the table is written at once: one of
 * more than 64 KiB 4 to 15 times a second at most, by each worker.
 *
 * Errors are fatal when no waiting mends them: the file is of a later version or no table, the
 * folder cannot be made again, its file system has no locks. Engine thread, but for creation. */
#ifndef KIN_LEASE_FILE_STORE_H
#define KIN_LEASE_FILE_STORE_H

#include "lease/store.h"

/* Creates the folder if it is not there, and locks the worker's file. NULL: the error says why. Lua
 * thread. */
kin_lease_store *kin_file_store_create(kin_slice folder, kin_slice application, kin_slice worker,
                                       kin_error *error);

#endif
