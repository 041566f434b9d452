#include "lua/put_many.h"

#include "lua/check.h"
#include "lua/error.h"
#include "lua/field.h"
#include "producer/put_many.h"

enum { FIRST = KIN_LUA_FIRST_ARGUMENT };

/* ---- records ---- */

/* NULL, or the message about the first wrong record from `first` on. */
static const char *check_records(lua_State *L, int records, int first) {
  char random[KIN_LUA_CHECK_RANDOM_KEY];
  kin_put put;
  int top = lua_gettop(L);
  int count = (int)lua_rawlen(L, records);
  for (int i = first; i <= count; i++) {
    const char *message = kin_lua_check_record(L, records, i, &put, random);
    if (message)
      return message;
    lua_settop(L, top);
  }
  return NULL;
}

/* Copies records from `first` on until the chunk is full. Returns the index behind the last, or 0
 * with the message of a wrong record on the top of the stack. */
static int fill(lua_State *L, kin_put_many *chunk, int records, int first) {
  char random[KIN_LUA_CHECK_RANDOM_KEY];
  kin_put put;
  int top = lua_gettop(L);
  int i = first, count = (int)lua_rawlen(L, records);
  for (; i <= count; i++) {
    if (kin_lua_check_record(L, records, i, &put, random))
      return 0;
    bool added = kin_put_many_add(chunk, &put);
    lua_settop(L, top);
    if (!added)
      break;
  }
  return i;
}

/* Owns the chunk while it is being filled, as Lua can raise then (memory, a metamethod). */
#define HOLDER "kinesis.put_many"

static int close_holder(lua_State *L) {
  kin_put_many **holder = luaL_checkudata(L, 1, HOLDER);
  if (*holder)
    kin_message_free(&(*holder)->message);
  *holder = NULL;
  return 0;
}

static kin_put_many **new_holder(lua_State *L) {
  kin_put_many **holder = kin_lua_class_userdata(L, sizeof *holder);
  *holder = NULL;
  kin_lua_class_set(L, HOLDER);
  return holder;
}

/* ---- answer ---- */

/* Stack indices of what every result needs. */
typedef struct result_names {
  int meta, shard_id, sequence_number, encryption_type;
} result_names;

static result_names push_result_names(lua_State *L) {
  int top = lua_gettop(L);
  luaL_getmetatable(L, KIN_LUA_RESULT_META);
  lua_pushliteral(L, "shard_id");
  lua_pushliteral(L, "sequence_number");
  lua_pushliteral(L, "encryption_type");
  return (result_names){top + 1, top + 2, top + 3, top + 4};
}

static void push_stored(lua_State *L, const result_names *names, const kin_put_result *result,
                        kin_slice encryption_type) {
  bool encrypted = encryption_type.len > 0;
  lua_createtable(L, 0, encrypted ? 3 : 2);
  kin_lua_field_set_named(L, names->shard_id, result->shard_id);
  kin_lua_field_set_named(L, names->sequence_number, result->sequence_number);
  if (encrypted)
    kin_lua_field_set_named(L, names->encryption_type, encryption_type);
}

/* results, first behind the ticket: fills results[first …] and pushes true, how many failed, and
 * whether all of them failed with an error that other records would meet, too. */
static int push_results(lua_State *L, const kin_message *message) {
  const kin_put_many *chunk = (const kin_put_many *)message;
  int results = FIRST;
  luaL_checktype(L, results, LUA_TTABLE);
  int first = (int)luaL_checkinteger(L, FIRST + 1), failed = 0;
  result_names names = push_result_names(L);
  for (size_t i = 0; i < chunk->count; i++) {
    const kin_put_result *result = &chunk->results[i];
    if (result->code.len > 0) {
      failed++;
      lua_createtable(L, 0, 4);
      kin_lua_field_set(L, "code", result->code);
      kin_lua_field_set(L, "message", result->message);
    } else {
      push_stored(L, &names, result, chunk->encryption_type);
    }
    if (chunk->entries[i].attempts != 1) {
      lua_pushinteger(L, chunk->entries[i].attempts);
      lua_setfield(L, -2, "attempts");
    }
    lua_pushvalue(L, names.meta);
    lua_setmetatable(L, -2);
    lua_rawseti(L, results, first + (int)i);
  }
  lua_pushboolean(L, 1);
  lua_pushinteger(L, failed);
  lua_pushboolean(L, kin_put_many_is_hopeless(chunk));
  return 3;
}

/* ---- send ---- */

int kin_lua_put_many_send(lua_State *L, kin_engine *engine) {
  static const char operation[] = "PutRecords";
  kin_slice stream;
  const char *message = kin_lua_check_stream(L, FIRST, &stream);
  const kin_target *target = lua_touserdata(L, FIRST + 3);
  int first = (int)luaL_checkinteger(L, FIRST + 2);
  if (engine && kin_engine_forked(engine)) /* before OpenSSL, whose locks the parent may hold */
    return kin_lua_handle_push_gone(L, engine, operation);
  if (message)
    return kin_lua_ticket_refuse(L, message);
  luaL_checktype(L, FIRST + 1, LUA_TTABLE);
  kin_put_many **holder = new_holder(L), *chunk = *holder = kin_put_many_create(stream);
  if (!chunk)
    return kin_lua_error_push_no_memory(L, operation);
  chunk->target = target;
  int next = fill(L, chunk, FIRST + 1, first);
  if (next == 0)
    return kin_lua_ticket_refuse(L, lua_tostring(L, -1));
  if (chunk->body.failed)
    return kin_lua_error_push_no_memory(L, operation);
  if (next == first)
    return kin_lua_ticket_refuse(L, "records ends before that");
  /* a wrong record of a later chunk is refused before anything is sent */
  if (first == 1 && (message = check_records(L, FIRST + 1, next)))
    return kin_lua_ticket_refuse(L, message);
  kin_lua_ticket *ticket = kin_lua_ticket_create(L, engine, chunk->bytes, operation, push_results);
  if (!ticket)
    return 2;
  lua_pushinteger(L, next);
  *holder = NULL;
  if (kin_put_many_start(engine, chunk, ticket->handle.id))
    return 2;
  kin_lua_ticket_drop(ticket);
  return kin_lua_error_push_no_memory(L, operation);
}

void kin_lua_put_many_open(lua_State *L) {
  kin_lua_class_create(L, HOLDER, NULL, close_holder);
}
