/* leases: the leases of a worker as a Lua userdata. Operations are submitted with a number; `next`
 * gives their outcomes, and what became of held leases. Owned by Lua; Lua thread. */
#ifndef KIN_LUA_LEASES_H
#define KIN_LUA_LEASES_H

#include "engine/engine.h"
#include "lua/class.h"

/* client:leases{worker=, failover=, folder=, application=} -> leases | nil, error. Without `folder`
 * the store is Lua's: see "question" in leases.c. */
int kin_lua_leases_push(lua_State *L, kin_engine *engine);

void kin_lua_leases_open(lua_State *L);

#endif
