/* codec: functions of the wire layer for Lua modules, specs and users who send requests by other
 * means. Lua thread. */
#ifndef KIN_LUA_CODEC_H
#define KIN_LUA_CODEC_H

#include "lua/class.h"

/* Pushes the table of functions. */
void kin_lua_codec_push(lua_State *L);

#endif
