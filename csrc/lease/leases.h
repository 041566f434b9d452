/* leases: the leases that one worker holds, as a machine of the engine. It owns the counter of each
 * lease: every renewal, checkpoint and release goes through it, one operation at a time for a
 * lease, so that they do not invalidate each other, and renewals go on while the user's code is
 * busy. What to take, and what to write, is decided in Lua.
 *
 *   (not held) -- TAKE: the store has changed its owner ------------> HELD, valid
 *   HELD -------- `interval` has passed, or WRITE: done -------------> HELD, valid again
 *   HELD -------- the same: the store has failed --------------------> HELD; again after a pause
 *   HELD -------- RELEASE, whatever its outcome --------------------> (not held)
 *   HELD -------- it is another's, or was, or its row is gone ------> (not held); Lua is notified
 *   HELD -------- CLOSE, or the engine ends ------------------------> RELEASE without a checkpoint
 *
 * A held lease is valid until `failover` after the last successful write was sent, less a margin.
 * After that it is not lost: as long as its counter is unchanged it can be renewed, but no
 * record may be delivered before it is. While another worker asks for it, it is renewed and not
 * valid.
 *
 * KIN_MESSAGE_LEASE_CLOSE, or the end of the engine: operations that wait are completed, what is
 * held is released without a checkpoint, within exit_timeout, but for a write of the file that has
 * begun; then the machine ends. With a store in Lua, leases are left to their expiry.
 *
 * Engine thread, but for creation; and for being freed, when the thread has ended: Lua thread, or
 * exit handler. The worker's handle in Lua is its other side. */
#ifndef KIN_LEASE_LEASES_H
#define KIN_LEASE_LEASES_H

#include "base/deadline.h"
#include "engine/engine.h"
#include "lease/store.h"

/* What Lua wants by an operation. */
typedef enum {
  KIN_LEASE_USE_PLAIN, /* the store's outcome */
  /* UPDATE; `changes` make this worker the owner and add 1 to the counter. Done: it is held. */
  KIN_LEASE_USE_TAKE,
  /* UPDATE of a held lease; owner and counter are the machine's. */
  KIN_LEASE_USE_WRITE,
  /* The same, in the place of the next renewal, or behind one that has that. */
  KIN_LEASE_USE_CARRY,
  /* The same, which ends the holding: `changes` have the next owner, or `false`. */
  KIN_LEASE_USE_RELEASE,
  KIN_LEASE_USE_RENEW, /* the machine's own; Lua is given one that has failed three times in a row
                        */
} kin_lease_use;

typedef struct kin_leases_options {
  kin_lease_store *store; /* taken */
  kin_slice owner;        /* this worker's id as JSON */
  kin_time failover;
  kin_time interval;     /* of renewals */
  kin_time exit_timeout; /* of all releases, when it is closed or the engine stops */
} kin_leases_options;

typedef struct kin_leases kin_leases;

/* KIN_MESSAGE_LEASE_LOST and KIN_MESSAGE_LEASE_WANTED, engine -> Lua. */
typedef struct kin_lease_event {
  kin_message message; /* first */
  kin_buf row;         /* JSON, as far as it is known; empty: there is none */
  char key[];
} kin_lease_event;

/* Lua thread. NULL: out of memory, and the store is freed. */
kin_leases *kin_leases_create(uint64_t id, const kin_leases_options *options);

/* Lua thread: gives the machine to the engine. False: the engine is stopped, the machine freed. */
bool kin_leases_start(kin_engine *engine, kin_leases *leases);
void kin_leases_free(kin_leases *leases);

#endif
