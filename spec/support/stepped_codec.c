/* stepped: readers and writers of the wire layer that no Lua module of the product calls, for
 * specs.
 *
 *   local codec = require("stepped").codec */
#include <stdlib.h>

#include "engine/transport.h"
#include "stepped.h"
#include "wire/aggregate.h"
#include "wire/crc32.h"
#include "wire/dynamo.h"
#include "wire/eventstream.h"
#include "wire/json.h"
#include "wire/list_shards.h"

/* A copy of the string, with a NUL behind it, that Lua collects: readers decode in place. */
static char *copy_argument(lua_State *L, int index, size_t *len) {
  const char *text = luaL_checklstring(L, index, len);
  return memcpy(lua_newuserdatauv(L, *len + 1, 0), text, *len + 1);
}

/* json_string(text) -> the text quoted and escaped */
static int json_string(lua_State *L) {
  kin_slice text;
  kin_buf out;
  text.at = luaL_checklstring(L, 1, &text.len);
  kin_buf_init(&out, 64 << 20);
  kin_json_add_string(&out, text);
  if (out.failed)
    abort();
  lua_pushlstring(L, out.at, out.len);
  kin_buf_free(&out);
  return 1;
}

/* json_read(text) -> true, the string or number that it is (nil for others) | false */
static int json_read(lua_State *L) {
  size_t len;
  char *copy = copy_argument(L, 1, &len);
  kin_json json;
  kin_slice text = {0};
  double number = 0;
  kin_json_init(&json, copy, len);
  kin_json_kind kind = kin_json_peek(&json);
  if (kind == KIN_JSON_STRING)
    kin_json_string(&json, &text);
  else if (kind == KIN_JSON_NUMBER)
    kin_json_number(&json, &number);
  else
    kin_json_skip(&json);
  lua_pushboolean(L, kin_json_done(&json));
  if (kind == KIN_JSON_STRING && !json.bad)
    lua_pushlstring(L, text.at, text.len);
  else if (kind == KIN_JSON_NUMBER && !json.bad)
    lua_pushnumber(L, number);
  else
    lua_pushnil(L);
  return 2;
}

/* Into the list on the top. */
static bool push_shard(void *context, const kin_listed_shard *listed) {
  lua_State *L = context;
  const kin_hash_range *range = &listed->range;
  if (listed->closed)
    return true;
  char first[KIN_HASH_TEXT], last[KIN_HASH_TEXT];
  lua_createtable(L, 0, 3);
  stepped_set_text(L, "id", listed->id);
  stepped_set_text(L, "first", (kin_slice){first, kin_hash_format(range->first, first)});
  stepped_set_text(L, "last", (kin_slice){last, kin_hash_format(range->last, last)});
  lua_rawseti(L, -2, (int)lua_rawlen(L, -2) + 1);
  return true;
}

/* shard_list(body) -> list of open shards {id=, first=, last=}, next token or nil | nil */
static int shard_list(lua_State *L) {
  size_t len;
  char *body = copy_argument(L, 1, &len);
  kin_slice token;
  lua_newtable(L);
  if (!kin_list_all_shards_read(body, len, push_shard, L, &token)) {
    lua_pushnil(L);
    return 1;
  }
  if (token.len == 0)
    return 1;
  lua_pushlstring(L, token.at, token.len);
  return 2;
}

/* stream_summary(body) -> {service_managed=, max_record_size=, open_shards=} | nil */
static int stream_summary(lua_State *L) {
  size_t len;
  char *body = copy_argument(L, 1, &len);
  kin_stream_summary summary;
  if (!kin_stream_summary_read(body, len, &summary)) {
    lua_pushnil(L);
    return 1;
  }
  lua_createtable(L, 0, 3);
  lua_pushboolean(L, summary.service_managed);
  lua_setfield(L, -2, "service_managed");
  lua_pushinteger(L, (lua_Integer)summary.max_record_size);
  lua_setfield(L, -2, "max_record_size");
  lua_pushinteger(L, (lua_Integer)summary.open_shards);
  lua_setfield(L, -2, "open_shards");
  return 1;
}

/* outside(aggregate, first, last) -> for each record whether its hash key lies outside the range */
static int outside(lua_State *L) {
  kin_slice bytes;
  kin_aggregate_reader reader;
  kin_hash_range range;
  kin_put record;
  bool out_of_memory;
  bytes.at = luaL_checklstring(L, 1, &bytes.len);
  if (!kin_hash_range_parse(kin_slice_of(luaL_checkstring(L, 2)),
                            kin_slice_of(luaL_checkstring(L, 3)), &range))
    return luaL_error(L, "not a range");
  kin_md5 *md5 = kin_md5_create();
  lua_newtable(L);
  if (md5 && kin_aggregate_open(&reader, md5, bytes, &out_of_memory)) {
    for (int i = 1; kin_aggregate_next(&reader, &record); i++) {
      lua_pushboolean(L, kin_aggregate_is_outside(&reader, &record, md5, &range));
      lua_rawseti(L, -2, i);
    }
    kin_aggregate_close(&reader);
  }
  kin_md5_free(md5);
  return 1;
}

static void set_present(lua_State *L, const char *field, kin_slice text) {
  if (text.len > 0)
    stepped_set_text(L, field, text);
}

/* event_frames(bytes) -> list of {kind=, name=, message=, payload=}, bytes left | "broken" */
static int event_frames(lua_State *L) {
  kin_slice bytes;
  bytes.at = luaL_checklstring(L, 1, &bytes.len);
  kin_frame frame;
  size_t used;
  kin_frame_state state;
  lua_newtable(L);
  while ((state = kin_eventstream_read(bytes, KIN_ANSWER_MAX, &frame, &used)) == KIN_FRAME_WHOLE) {
    lua_createtable(L, 0, 4);
    set_present(L, "kind", frame.kind);
    set_present(L, "name", frame.name);
    set_present(L, "message", frame.message);
    lua_pushlstring(L, frame.payload.at, frame.payload.len);
    lua_setfield(L, -2, "payload");
    lua_rawseti(L, 2, (int)lua_rawlen(L, 2) + 1);
    bytes = (kin_slice){bytes.at + used, bytes.len - used};
  }
  if (state == KIN_FRAME_BROKEN)
    lua_pushliteral(L, "broken");
  else
    lua_pushinteger(L, (lua_Integer)bytes.len);
  return 2;
}

/* ---- tables of leases in DynamoDB ---- */

/* The table "leases" of one stream, by the fields prefix, name and kcl3 of the table at 1. */
static kin_dynamo_table lease_table(lua_State *L, kin_dynamo_stream *stream) {
  luaL_checktype(L, 1, LUA_TTABLE);
  *stream = (kin_dynamo_stream){stepped_text(L, 1, "prefix"), stepped_text(L, 1, "name")};
  lua_getfield(L, 1, "kcl3");
  bool kcl3 = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return (kin_dynamo_table){KIN_SLICE("leases"), stream, 1, kcl3};
}

/* Pushes what was written; nil: it could not be. */
static int push_written(lua_State *L, kin_buf *out, bool good) {
  if (out->failed)
    abort();
  if (good)
    lua_pushlstring(L, out->at ? out->at : "", out->len);
  else
    lua_pushnil(L);
  kin_buf_free(out);
  return 1;
}

/* lease_rows(stream, response of Scan) -> JSON of rows by key, end of the page or "", why
 * the table does not fit or 0 | nil */
static int lease_rows(lua_State *L) {
  kin_dynamo_stream stream;
  kin_dynamo_table table = lease_table(L, &stream);
  size_t len;
  char *text = copy_argument(L, 2, &len);
  kin_buf response = {.at = text, .len = len}, out;
  kin_slice after;
  kin_dynamo_fit fit;
  kin_buf_init(&out, 64 << 20);
  kin_buf_add_text(&out, "{");
  bool good = kin_dynamo_scan_read(&table, &response, &out, &after, &fit);
  kin_buf_add_text(&out, "}");
  push_written(L, &out, good);
  lua_pushlstring(L, after.at ? after.at : "", after.len);
  lua_pushinteger(L, (lua_Integer)fit);
  return 3;
}

/* lease_row(stream, response, member) -> JSON of the row, "" without one | nil */
static int lease_row(lua_State *L) {
  kin_dynamo_stream stream;
  kin_dynamo_table table = lease_table(L, &stream);
  size_t len;
  char *text = copy_argument(L, 2, &len);
  kin_buf response = {.at = text, .len = len}, out;
  kin_buf_init(&out, 64 << 20);
  return push_written(L, &out,
                      kin_dynamo_row_read(&table, &response, luaL_checkstring(L, 3), &out));
}

/* lease_request(stream, "put"|"update"|"get"|"delete", key, JSON of the row or changes, JSON of the
 * owner or "", counter) -> body | nil; lease_request(stream, "scan", end of the page before) */
static int lease_request(lua_State *L) {
  kin_dynamo_stream stream;
  kin_dynamo_table table = lease_table(L, &stream);
  const char *kind = luaL_checkstring(L, 2);
  kin_slice key = kin_slice_of(luaL_checkstring(L, 3)),
            row = kin_slice_of(luaL_optstring(L, 4, "")),
            owner = kin_slice_of(luaL_optstring(L, 5, ""));
  uint64_t counter = (uint64_t)luaL_optnumber(L, 6, 0);
  kin_buf out;
  bool good = true;
  kin_buf_init(&out, 64 << 20);
  if (strcmp(kind, "scan") == 0)
    kin_dynamo_scan_build(&out, &table, key);
  else if (strcmp(kind, "put") == 0)
    good = kin_dynamo_put_build(&out, &table, key, row);
  else if (strcmp(kind, "get") == 0)
    good = kin_dynamo_get_build(&out, &table, key);
  else if (strcmp(kind, "delete") == 0)
    good = kin_dynamo_delete_build(&out, &table, key, owner, counter);
  else
    good = kin_dynamo_update_build(&out, &table, key, owner, counter, row);
  return push_written(L, &out, good);
}

/* crc32(bytes) -> number */
static int crc32(lua_State *L) {
  kin_slice bytes;
  bytes.at = luaL_checklstring(L, 1, &bytes.len);
  lua_pushnumber(L, (lua_Number)kin_crc32(bytes));
  return 1;
}

void stepped_push_codec(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"json_string", json_string},
      {"json_read", json_read},
      {"shard_list", shard_list},
      {"stream_summary", stream_summary},
      {"event_frames", event_frames},
      {"outside", outside},
      {"lease_rows", lease_rows},
      {"lease_row", lease_row},
      {"lease_request", lease_request},
      {"crc32", crc32},
      {NULL, NULL},
  };
  lua_newtable(L);
  for (const luaL_Reg *function = functions; function->name; function++) {
    lua_pushcfunction(L, function->func);
    lua_setfield(L, -2, function->name);
  }
}
