/* records: a record of a page as a Lua table of its raw fields. */
#ifndef KIN_LUA_RECORD_H
#define KIN_LUA_RECORD_H

#include "lua/values.h"
#include "wire/get_records.h"

/* Pushes `function` as a closure that may call kin_lua_record_push: it has the names of the fields,
 * and the metatable that records share, as its upvalues. */
void kin_lua_record_push_function(lua_State *L, lua_CFunction function);

/* `shard_id` is the stack index of the shard's id. */
void kin_lua_record_push(lua_State *L, const kin_record *record, int shard_id);

#endif
