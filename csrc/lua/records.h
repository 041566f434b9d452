/* records: a record of a page as a Lua table of its raw fields. */
#ifndef KIN_LUA_RECORDS_H
#define KIN_LUA_RECORDS_H

#include "lua/args.h"
#include "wire/getrecords.h"

/* `shard_id` and `meta` are stack indices: the shard's id, and the metatable records share. */
void kin_push_record(lua_State *L, const kin_record *record, int shard_id, int meta);

#endif
