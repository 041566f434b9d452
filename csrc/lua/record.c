#include "lua/record.h"

/* The upvalues: the metatable, and the names of the fields in their default order. */
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

/* Fields that every record has; one in an aggregate also has SUB_SEQUENCE_NUMBER. */
enum { USUAL_FIELDS = 5 };

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

static unsigned char field_named(kin_slice name) {
  unsigned char field = DATA;
  while (field < UPVALUES && !kin_slice_is(name, names[field]))
    field++;
  return field;
}

void kin_lua_fields_read(lua_State *L, int index, kin_lua_fields *fields) {
  *fields = (kin_lua_fields){0};
  bool all = lua_isnoneornil(L, index);
  size_t wanted = all ? KIN_LUA_FIELDS_MAX : lua_rawlen(L, index);
  for (; fields->count < wanted && fields->count < KIN_LUA_FIELDS_MAX; fields->count++) {
    unsigned char *field = &fields->list[fields->count];
    *field = (unsigned char)(DATA + fields->count);
    if (all)
      continue;
    kin_slice name;
    lua_rawgeti(L, index, (int)fields->count + 1);
    name.at = luaL_checklstring(L, -1, &name.len);
    *field = field_named(name);
    lua_pop(L, 1);
  }
}

void kin_lua_record_push_function(lua_State *L, lua_CFunction function) {
  luaL_newmetatable(L, KIN_LUA_RECORD_META); /* created here, or by module.c before */
  for (int i = DATA; i <= UPVALUES; i++)
    lua_pushstring(L, names[i]);
  lua_pushcclosure(L, function, UPVALUES);
}

static bool has_field(const kin_delivery *delivery, int field) {
  kin_slice encryption_type = delivery->record->encryption_type;
  switch (field) {
  case PARTITION_KEY:
    return delivery->user.partition_key.at != NULL;
  case ENCRYPTION_TYPE:
    return encryption_type.len > 0 && !kin_slice_is(encryption_type, "NONE");
  case EXPLICIT_HASH_KEY:
    return delivery->user.explicit_hash_key.len > 0;
  case SUB_SEQUENCE_NUMBER:
    return delivery->aggregated;
  default:
    return true;
  }
}

static void push_slice(lua_State *L, kin_slice value) {
  lua_pushlstring(L, value.at ? value.at : "", value.len);
}

/* The record has the field. */
static void push_field(lua_State *L, const kin_delivery *delivery, int field, int shard_id) {
  switch (field) {
  case DATA:
    push_slice(L, delivery->user.data);
    break;
  case PARTITION_KEY:
    push_slice(L, delivery->user.partition_key);
    break;
  case SEQUENCE_NUMBER:
    push_slice(L, delivery->record->sequence_number);
    break;
  case SHARD_ID:
    lua_pushvalue(L, shard_id);
    break;
  case ARRIVAL_TIMESTAMP:
    lua_pushnumber(L, delivery->record->arrival_timestamp);
    break;
  case ENCRYPTION_TYPE:
    push_slice(L, delivery->record->encryption_type);
    break;
  case EXPLICIT_HASH_KEY:
    push_slice(L, delivery->user.explicit_hash_key);
    break;
  default:
    lua_pushinteger(L, (lua_Integer)delivery->sub);
  }
}

void kin_lua_record_push(lua_State *L, const kin_delivery *delivery, const kin_lua_fields *fields,
                         int shard_id) {
  size_t usual = USUAL_FIELDS + (size_t)delivery->aggregated;
  lua_createtable(L, 0, (int)(fields->count < usual ? fields->count : usual));
  for (size_t i = 0; i < fields->count; i++) {
    if (!has_field(delivery, fields->list[i]))
      continue;
    lua_pushvalue(L, lua_upvalueindex(fields->list[i]));
    push_field(L, delivery, fields->list[i], shard_id);
    lua_rawset(L, -3);
  }
  lua_pushvalue(L, lua_upvalueindex(META));
  lua_setmetatable(L, -2);
}

void kin_lua_record_push_values(lua_State *L, const kin_delivery *delivery,
                                const kin_lua_fields *fields, int shard_id) {
  for (size_t i = 0; i < fields->count; i++) {
    if (has_field(delivery, fields->list[i]))
      push_field(L, delivery, fields->list[i], shard_id);
    else
      lua_pushnil(L);
  }
}

void kin_lua_record_push_columns(lua_State *L, const kin_lua_fields *fields, int rows) {
  lua_createtable(L, 0, (int)fields->count + 1);
  int table = lua_gettop(L);
  for (size_t i = 0; i < fields->count; i++) {
    lua_createtable(L, rows, 0);
    lua_pushvalue(L, lua_upvalueindex(fields->list[i]));
    lua_pushvalue(L, -2);
    lua_rawset(L, table);
  }
}

void kin_lua_record_set_row(lua_State *L, const kin_delivery *delivery,
                            const kin_lua_fields *fields, int shard_id, int columns, int row) {
  for (int i = 0; i < (int)fields->count; i++) {
    if (has_field(delivery, fields->list[i]))
      push_field(L, delivery, fields->list[i], shard_id);
    else
      lua_pushboolean(L, 0);
    lua_rawseti(L, columns + i, row);
  }
}
