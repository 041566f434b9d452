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
  EXPLICIT_HASH_KEY,
  SUB_SEQUENCE_NUMBER,
  UPVALUES = SUB_SEQUENCE_NUMBER,
};

void kin_lua_record_push_function(lua_State *L, lua_CFunction function) {
  static const char *const names[] = {
      [DATA] = "data",
      [PARTITION_KEY] = "partition_key",
      [SEQUENCE_NUMBER] = "sequence_number",
      [SHARD_ID] = "shard_id",
      [ARRIVAL_TIMESTAMP] = "arrival_timestamp",
      [ENCRYPTION_TYPE] = "encryption_type",
      [EXPLICIT_HASH_KEY] = "explicit_hash_key",
      [SUB_SEQUENCE_NUMBER] = "sub_sequence_number",
  };
  luaL_newmetatable(L, KIN_LUA_RECORD_META); /* created here, or by module.c before */
  for (int i = DATA; i <= UPVALUES; i++)
    lua_pushstring(L, names[i]);
  lua_pushcclosure(L, function, UPVALUES);
}

static void set_text(lua_State *L, int name, kin_slice value) {
  kin_lua_field_set_named(L, lua_upvalueindex(name), value);
}

static void push_name(lua_State *L, int name) {
  lua_pushvalue(L, lua_upvalueindex(name));
}

void kin_lua_record_push(lua_State *L, const kin_delivery *delivery, int shard_id) {
  const kin_record *record = delivery->record;
  const kin_put *user = &delivery->user;
  lua_createtable(L, 0, delivery->aggregated ? 6 : 5);
  set_text(L, DATA, user->data.at ? user->data : KIN_SLICE(""));
  if (user->partition_key.at)
    set_text(L, PARTITION_KEY, user->partition_key);
  if (user->explicit_hash_key.len > 0)
    set_text(L, EXPLICIT_HASH_KEY, user->explicit_hash_key);
  set_text(L, SEQUENCE_NUMBER, record->sequence_number);
  if (delivery->aggregated) {
    push_name(L, SUB_SEQUENCE_NUMBER);
    lua_pushinteger(L, (lua_Integer)delivery->sub);
    lua_rawset(L, -3);
  }
  push_name(L, SHARD_ID);
  lua_pushvalue(L, shard_id);
  lua_rawset(L, -3);
  push_name(L, ARRIVAL_TIMESTAMP);
  lua_pushnumber(L, record->arrival_timestamp);
  lua_rawset(L, -3);
  if (record->encryption_type.len > 0 && !kin_slice_is(record->encryption_type, "NONE"))
    set_text(L, ENCRYPTION_TYPE, record->encryption_type);
  push_name(L, META);
  lua_setmetatable(L, -2);
}
