/* aggregates: wire/aggregate and wire/hashkey as functions of Lua. Lua thread. */
#ifndef KIN_LUA_AGGREGATES_H
#define KIN_LUA_AGGREGATES_H

#include "lua/class.h"

/* Adds its functions to the table on the top. */
void kin_lua_aggregates_push(lua_State *L);

#endif
