/* internal: what `leases` and `writes` share. Engine thread. */
#ifndef KIN_LEASE_INTERNAL_H
#define KIN_LEASE_INTERNAL_H

#include "lease/held.h"
#include "lease/leases.h"

struct kin_leases {
  kin_machine machine; /* first */
  kin_lease_store *store;
  char *owner; /* JSON */
  kin_time failover, interval, exit_timeout;
  kin_time ends_at;            /* monotonic: it closes, until then at most; 0: it does not */
  kin_message *reserved_error; /* owned: a refusal needs no memory */
  kin_held_leases held;
  size_t taking;     /* TAKEs in the store */
  kin_timers timers; /* with space for every lease, and every one that is being taken */
};

static inline kin_time kin_leases_boottime(kin_leases *leases) {
  kin_clock *clock = kin_engine_clock(leases->machine.engine);
  return clock->boottime(clock);
}

static inline void kin_leases_submit(kin_leases *leases, kin_lease_op *op) {
  leases->store->vtable->submit(leases->store, op);
}

/* Gives an operation that has its outcome to Lua. */
static inline void kin_leases_give_back(kin_leases *leases, kin_lease_op *op) {
  op->message.kind = KIN_MESSAGE_LEASE;
  op->message.owner = leases->machine.id;
  kin_engine_notify(leases->machine.engine, &op->message);
}

#endif
