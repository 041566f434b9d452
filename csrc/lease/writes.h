/* writes: what is sent to the store for a lease that is held: renewals, the writes of Lua and the
 * release, one at a time; and what becomes of the lease by their outcomes. Part of `leases`; engine
 * thread. */
#ifndef KIN_LEASE_WRITES_H
#define KIN_LEASE_WRITES_H

#include "lease/internal.h"

/* The lease is valid from the time when its last write, or TAKE, was sent; sets its next renewal, a
 * third of `failover` after that time. */
void kin_writes_extend(kin_leases *leases, kin_lease *lease);

/* Takes an operation of Lua, which is sent as soon as those before it have their outcome; one of
 * CARRY at the next renewal. */
void kin_writes_add(kin_leases *leases, kin_lease *lease, kin_lease_op *op);

/* Sends the operation of Lua that is next, or with `renew` a renewal; nothing while one is in
 * flight. */
void kin_writes_send_next(kin_leases *leases, kin_lease *lease, bool renew);

/* Ends the holding of a lease, behind the operations that wait. Out of memory: it is left to its
 * expiry. The lease may be freed. */
void kin_writes_release(kin_leases *leases, kin_lease *lease);

/* Takes a write that the store has completed. The lease may be freed. */
void kin_writes_complete(kin_leases *leases, kin_lease_op *op);

#endif
