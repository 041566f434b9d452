/* reader: a reader of shards as a Lua userdata: delivers records and events, one at a time; see
 * `next` in reader.c. lua/kinesis/reader makes an iterator of it. Owned by Lua; Lua thread. */
#ifndef KIN_LUA_READER_H
#define KIN_LUA_READER_H

#include "lua/handle.h"

void kin_lua_reader_open(lua_State *L);

/* client:reader{stream=, target=, shards=, poll_interval=, window=, stop_at_tip=, follow=, …}
 * -> reader | nil, error. The Lua modules have checked the options. */
int kin_lua_reader_push(lua_State *L, kin_engine *engine);

#endif
