#include "lease/lua_store.h"

#include <stdlib.h>

typedef struct lua_store {
  kin_lease_store store; /* first */
  kin_engine *engine;    /* which runs the machine that owns the store */
  uint64_t owner;
} lua_store;

static void submit(kin_lease_store *store, kin_lease_op *op) {
  lua_store *s = (lua_store *)store;
  op->message.kind = KIN_MESSAGE_LEASE_QUESTION;
  op->message.owner = s->owner;
  kin_engine_notify(s->engine, &op->message);
}

static kin_time step(kin_lease_store *store, kin_time now, kin_message_list *done) {
  (void)store, (void)now, (void)done;
  return KIN_NEVER;
}

static void free_store(kin_lease_store *store) {
  free(store);
}

kin_lease_store *kin_lua_store_create(kin_engine *engine, uint64_t owner) {
  static const kin_lease_store_vtable vtable = {submit, step, NULL, free_store, false};
  lua_store *s = calloc(1, sizeof *s);
  if (!s)
    return NULL;
  *s = (lua_store){{&vtable}, engine, owner};
  return &s->store;
}
