/* producer: what goes behind a producer's queue, and what comes out: receipts, failures, counts. */
#ifndef KIN_LUA_PRODUCER_H
#define KIN_LUA_PRODUCER_H

#include "engine/engine.h"
#include "lua/class.h"

void kin_lua_producer_open(lua_State *L);

/* client:producer{stream=, …} -> producer | nil, err. Checked in Lua. */
int kin_lua_producer_push(lua_State *L, kin_engine *engine);

#endif
