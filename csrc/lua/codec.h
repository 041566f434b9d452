/* codec: the wire rooms as plain functions of Lua, for specs and for users elsewhere. */
#ifndef KIN_LUA_CODEC_H
#define KIN_LUA_CODEC_H

#include "lua/class.h"

/* Pushes the table of functions. */
void kin_lua_codec_push(lua_State *L);

#endif
