/* lua_store: a store whose functions are the user's, in Lua. Each operation is sent to Lua as
 * KIN_MESSAGE_LEASE_QUESTION and returns as KIN_MESSAGE_LEASE_ANSWER, so that leases are renewed
 * only when Lua drains. Engine thread, but for creation. */
#ifndef KIN_LEASE_LUA_STORE_H
#define KIN_LEASE_LUA_STORE_H

#include "engine/engine.h"
#include "lease/store.h"

/* `owner`: the id of the handle in Lua, and of the machine. NULL: out of memory. */
kin_lease_store *kin_lua_store_create(kin_engine *engine, uint64_t owner);

#endif
