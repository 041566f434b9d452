/* store: where the leases of an application are kept, for all its workers. `file_store` keeps them
 * in a file of this machine, `dynamo_store` in a table of DynamoDB; `lua_store` asks functions in
 * Lua. Owned by the machine `leases`; engine thread, but for creation, and for being freed, when
 * the thread has ended. */
#ifndef KIN_LEASE_STORE_H
#define KIN_LEASE_STORE_H

#include "base/clock.h"
#include "lease/op.h"

typedef struct kin_lease_store kin_lease_store;

typedef struct kin_lease_store_vtable {
  /* Takes the operation. A refused UPDATE has the row as it is as its answer. */
  void (*submit)(kin_lease_store *store, kin_lease_op *op);
  /* Does what is due, and appends the operations that have their outcome. Returns when it is to be
   * called again at the latest; monotonic. */
  kin_time (*step)(kin_lease_store *store, kin_time now, kin_message_list *done);
  /* Takes the answer to a request of the machine, which this store has sent. NULL: it sends none.
   */
  void (*receive)(kin_lease_store *store, kin_message *answer);
  void (*free)(kin_lease_store *store);
  bool releases_at_close; /* operations are completed whatever Lua does */
} kin_lease_store_vtable;

struct kin_lease_store {
  const kin_lease_store_vtable *vtable;
};

#endif
