#include "lua/aggregates.h"

#include "lua/check.h"
#include "lua/field.h"
#include "wire/aggregate.h"

enum {
  RECORD_MAX = KIN_RECORD_DATA_MAX,
  PART_MAX = 3 * RECORD_MAX, /* the largest aggregate and one record more */
};

/* The upvalues. */
enum { DIGEST = 1, DATA, PARTITION_KEY, EXPLICIT_HASH_KEY, SUB_SEQUENCE_NUMBER };

/* ---- userdata, so that memory is freed when Lua raises ---- */

#define MD5 "kinesis.md5"
#define WORK "kinesis.aggregate"

static int close_md5(lua_State *L) {
  kin_md5 **md5 = luaL_checkudata(L, 1, MD5);
  kin_md5_free(*md5);
  *md5 = NULL;
  return 0;
}

/* Created at the first use, as OpenSSL may have no MD5. */
static kin_md5 *use_md5(lua_State *L) {
  kin_md5 **md5 = lua_touserdata(L, lua_upvalueindex(DIGEST));
  if (!*md5)
    *md5 = kin_md5_create();
  if (!*md5)
    luaL_error(L, "OpenSSL has no MD5");
  return *md5;
}

typedef struct work {
  kin_aggregate aggregate;
  kin_buf out;
  kin_aggregate_reader reader;
} work;

static void free_work(work *w) {
  kin_aggregate_free(&w->aggregate);
  kin_buf_free(&w->out);
  kin_aggregate_close(&w->reader);
}

static int close_work(lua_State *L) {
  free_work(luaL_checkudata(L, 1, WORK));
  return 0;
}

static work *new_work(lua_State *L) {
  work *w = kin_lua_class_userdata(L, sizeof *w);
  *w = (work){0};
  kin_aggregate_init(&w->aggregate, PART_MAX);
  kin_buf_init(&w->out, RECORD_MAX);
  kin_lua_class_set(L, WORK);
  return w;
}

static int refuse(lua_State *L, const char *message) {
  lua_pushboolean(L, 0);
  lua_pushstring(L, message);
  return 2;
}

/* ---- aggregate ---- */

static size_t size_of(const kin_aggregate *aggregate) {
  return KIN_AGGREGATE_FRAME + aggregate->keys.len + aggregate->hash_keys.len +
         aggregate->records.len;
}

/* The hash key of the first record, which becomes that of the aggregate. */
static void first_hash(lua_State *L, const kin_put *put, char text[KIN_HASH_TEXT]) {
  kin_hash hash;
  if (!kin_hash_parse(put->explicit_hash_key, &hash) &&
      !kin_hash_key(use_md5(L), put->partition_key, &hash))
    luaL_error(L, "out of memory"); /* there is MD5 */
  kin_hash_format(hash, text);
}

/* NULL, or the message about the first wrong record. */
static const char *fill(lua_State *L, int records, kin_aggregate *aggregate,
                        char hash_key[KIN_HASH_TEXT]) {
  int count = (int)lua_rawlen(L, records), top = lua_gettop(L);
  for (int i = 1; i <= count; i++) {
    kin_put put;
    /* with a random key each record would belong to another shard */
    const char *message = kin_lua_check_record(L, records, i, &put, NULL);
    if (message)
      return message;
    if (i == 1)
      first_hash(L, &put, hash_key);
    kin_aggregate_add(aggregate, &put);
    if (aggregate->failed)
      luaL_error(L, "out of memory");
    if (size_of(aggregate) > RECORD_MAX)
      return lua_pushfstring(L,
                             "records[%d] makes the aggregate %d bytes; a record holds at most %d "
                             "(10 MiB)",
                             i, (int)size_of(aggregate), RECORD_MAX);
    lua_settop(L, top);
  }
  return count > 0 ? NULL : "records is empty";
}

/* aggregate(records) -> data, partition_key, explicit_hash_key | false, message
 * The partition key and the hash key are those that the KPL gives an aggregate. */
static int aggregate(lua_State *L) {
  char hash_key[KIN_HASH_TEXT];
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  kin_md5 *md5 = use_md5(L);
  work *w = new_work(L);
  const char *message = fill(L, 1, &w->aggregate, hash_key);
  if (message) {
    free_work(w); /* at once, as it may be megabytes */
    return refuse(L, message);
  }
  if (!kin_aggregate_write(&w->aggregate, md5, &w->out))
    return luaL_error(L, "out of memory");
  lua_pushlstring(L, w->out.at, w->out.len);
  lua_pushliteral(L, "a");
  lua_pushstring(L, hash_key);
  free_work(w);
  return 3;
}

/* ---- deaggregate ---- */

static void push_user_record(lua_State *L, const kin_put *record, int index) {
  lua_createtable(L, 0, 4);
  kin_lua_field_set_named(L, lua_upvalueindex(DATA), record->data);
  kin_lua_field_set_named(L, lua_upvalueindex(PARTITION_KEY), record->partition_key);
  if (record->explicit_hash_key.len > 0)
    kin_lua_field_set_named(L, lua_upvalueindex(EXPLICIT_HASH_KEY), record->explicit_hash_key);
  lua_pushvalue(L, lua_upvalueindex(SUB_SEQUENCE_NUMBER));
  lua_pushinteger(L, index);
  lua_rawset(L, -3);
}

/* deaggregate(bytes) -> list of {data=, partition_key=, explicit_hash_key=, sub_sequence_number=}
 * | nil: not an aggregate */
static int deaggregate(lua_State *L) {
  kin_slice bytes;
  kin_put record;
  bool out_of_memory;
  bytes.at = luaL_checklstring(L, 1, &bytes.len);
  lua_settop(L, 1);
  kin_md5 *md5 = use_md5(L);
  work *w = new_work(L);
  if (!kin_aggregate_open(&w->reader, md5, bytes, &out_of_memory)) {
    if (out_of_memory)
      return luaL_error(L, "out of memory");
    lua_pushnil(L);
    return 1;
  }
  lua_createtable(L, (int)w->reader.count, 0);
  for (int i = 0; kin_aggregate_next(&w->reader, &record); i++) {
    push_user_record(L, &record, i);
    lua_rawseti(L, -2, i + 1);
  }
  free_work(w);
  return 1;
}

/* hash_key(partition_key) -> decimal | false, message */
static int hash_key(lua_State *L) {
  char text[KIN_HASH_TEXT];
  kin_slice key;
  kin_hash hash;
  luaL_checkstring(L, 1);
  const char *message = kin_lua_check_key(L, 1, "", &key, NULL);
  if (message)
    return refuse(L, message);
  if (!kin_hash_key(use_md5(L), key, &hash))
    return luaL_error(L, "out of memory"); /* there is MD5 */
  lua_pushlstring(L, text, kin_hash_format(hash, text));
  return 1;
}

void kin_lua_aggregates_push(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"aggregate", aggregate},
      {"deaggregate", deaggregate},
      {"hash_key", hash_key},
  };
  static const char *const names[] = {
      [DATA] = "data",
      [PARTITION_KEY] = "partition_key",
      [EXPLICIT_HASH_KEY] = "explicit_hash_key",
      [SUB_SEQUENCE_NUMBER] = "sub_sequence_number",
  };
  kin_lua_class_create(L, MD5, NULL, close_md5);
  kin_lua_class_create(L, WORK, NULL, close_work);
  int table = lua_gettop(L);
  kin_md5 **md5 = kin_lua_class_userdata(L, sizeof *md5); /* one for all three */
  *md5 = NULL;
  kin_lua_class_set(L, MD5);
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    lua_pushvalue(L, table + DIGEST);
    for (int name = DATA; name <= SUB_SEQUENCE_NUMBER; name++)
      lua_pushstring(L, names[name]);
    lua_pushcclosure(L, functions[i].func, SUB_SEQUENCE_NUMBER);
    lua_setfield(L, table, functions[i].name);
  }
  lua_pop(L, 1);
}
