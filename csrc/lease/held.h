/* held: the leases that a worker holds, sorted by key. Owned by `leases`; engine thread. */
#ifndef KIN_LEASE_HELD_H
#define KIN_LEASE_HELD_H

#include "lease/op.h"

typedef struct kin_held_leases {
  kin_lease **at; /* owned */
  size_t count, capacity;
} kin_held_leases;

/* Also frees the leases. */
void kin_held_free(kin_held_leases *held);

/* NULL: it is not held. */
kin_lease *kin_held_find(const kin_held_leases *held, kin_slice key);

/* Space for that many leases in all. False: out of memory. */
bool kin_held_reserve(kin_held_leases *held, size_t count);

/* Takes a lease, for which there is space. */
void kin_held_add(kin_held_leases *held, kin_lease *lease);

/* Gives it back. */
void kin_held_remove(kin_held_leases *held, const kin_lease *lease);

#endif
