#include "lua/record.h"

#include "lua/field.h"

/* The upvalues. */
enum {
  META = 1,
  DATA,
  PARTITION_KEY,
  SEQUENCE_NUMBER,
  SHARD_ID,
  ARRIVAL_TIMESTAMP,
  ENCRYPTION_TYPE,
  UPVALUES = ENCRYPTION_TYPE,
};

void kin_lua_record_push_function(lua_State *L, lua_CFunction function) {
  static const char *const names[] = {
      [DATA] = "data",
      [PARTITION_KEY] = "partition_key",
      [SEQUENCE_NUMBER] = "sequence_number",
      [SHARD_ID] = "shard_id",
      [ARRIVAL_TIMESTAMP] = "arrival_timestamp",
      [ENCRYPTION_TYPE] = "encryption_type",
  };
  luaL_newmetatable(L, KIN_LUA_RECORD_META); /* created here, or by module.c before */
  for (int i = DATA; i <= UPVALUES; i++)
    lua_pushstring(L, names[i]);
  lua_pushcclosure(L, function, UPVALUES);
}

static void set_text(lua_State *L, int name, kin_slice value) {
  kin_lua_field_set_named(L, lua_upvalueindex(name), value);
}

void kin_lua_record_push(lua_State *L, const kin_record *record, int shard_id) {
  lua_createtable(L, 0, 5);
  set_text(L, DATA, record->data.at ? record->data : KIN_SLICE(""));
  if (record->partition_key.at)
    set_text(L, PARTITION_KEY, record->partition_key);
  set_text(L, SEQUENCE_NUMBER, record->sequence_number);
  lua_pushvalue(L, lua_upvalueindex(SHARD_ID));
  lua_pushvalue(L, shard_id);
  lua_rawset(L, -3);
  lua_pushvalue(L, lua_upvalueindex(ARRIVAL_TIMESTAMP));
  lua_pushnumber(L, record->arrival_timestamp);
  lua_rawset(L, -3);
  if (record->encryption_type.len > 0 && !kin_slice_is(record->encryption_type, "NONE"))
    set_text(L, ENCRYPTION_TYPE, record->encryption_type);
  lua_pushvalue(L, lua_upvalueindex(META));
  lua_setmetatable(L, -2);
}
