/* record: a user record of a page as a Lua table of its raw fields. Lua thread. */
#ifndef KIN_LUA_RECORD_H
#define KIN_LUA_RECORD_H

#include "consumer/cursor.h"
#include "lua/class.h"

/* The metatable that all records share. */
#define KIN_LUA_RECORD_META "kinesis.record"

/* Pushes `function` as a closure that may call kin_lua_record_push: its upvalues are the names of
 * the fields and the metatable. */
void kin_lua_record_push_function(lua_State *L, lua_CFunction function);

/* Pushes the record. `shard_id` is the stack index of the shard's id. */
void kin_lua_record_push(lua_State *L, const kin_delivery *delivery, int shard_id);

#endif
