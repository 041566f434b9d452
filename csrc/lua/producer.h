/* producer: the handle of a producer: puts records into its queue, collects their outcomes, flushes
 * and closes. Lua thread. */
#ifndef KIN_LUA_PRODUCER_H
#define KIN_LUA_PRODUCER_H

#include "engine/engine.h"
#include "lua/class.h"

void kin_lua_producer_open(lua_State *L);

/* client:producer{stream=, …} -> producer | nil, err. The options are checked in Lua. */
int kin_lua_producer_push(lua_State *L, kin_engine *engine);

#endif
