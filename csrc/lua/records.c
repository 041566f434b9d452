#include "lua/records.h"

static void set_text(lua_State *L, const char *field, kin_slice value) {
  lua_pushlstring(L, value.at, value.len);
  lua_setfield(L, -2, field);
}

void kin_push_record(lua_State *L, const kin_record *record, int shard_id, int meta) {
  lua_createtable(L, 0, 5);
  set_text(L, "data", record->data.at ? record->data : KIN_SLICE(""));
  if (record->partition_key.at)
    set_text(L, "partition_key", record->partition_key);
  set_text(L, "sequence_number", record->sequence_number);
  lua_pushvalue(L, shard_id);
  lua_setfield(L, -2, "shard_id");
  lua_pushnumber(L, record->arrival_timestamp);
  lua_setfield(L, -2, "arrival_timestamp");
  if (record->encryption_type.len > 0 && !kin_slice_is(record->encryption_type, "NONE"))
    set_text(L, "encryption_type", record->encryption_type);
  lua_pushvalue(L, meta);
  lua_setmetatable(L, -2);
}
