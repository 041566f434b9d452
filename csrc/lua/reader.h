/* reader: a reader of shards as Lua holds it. What it gives, one thing at a time, is told at `next`
 * in reader.c; lua/kinesis/reader.lua makes an iterator of it. */
#ifndef KIN_LUA_READER_H
#define KIN_LUA_READER_H

#include "lua/handle.h"

void kin_lua_reader_open(lua_State *L);

/* A table of options behind the client on the stack -> reader | nil, error. The options were
 * checked in Lua: stream, shards, poll_interval, window, stop_at_tip, follow. */
int kin_lua_reader_push(lua_State *L, kin_engine *engine);

#endif
