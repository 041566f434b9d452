#include "lua/call.h"

#include "engine/subscription.h"
#include "lua/check.h"
#include "lua/error.h"
#include "lua/field.h"

enum { FIRST = KIN_LUA_FIRST_ARGUMENT };

/* ---- put ---- */

static bool read_put(kin_call *call) {
  kin_put_result result;
  kin_buf *answer = &call->request.exchange.answer;
  bool good = kin_put_record_read(answer->at, answer->len, &result, &call->found[2]);
  call->found[0] = result.shard_id;
  call->found[1] = result.sequence_number;
  return good;
}

static int push_put(lua_State *L, const kin_message *message) {
  const kin_call *call = (const kin_call *)message;
  kin_error error = call->request.error;
  if (error.class != KIN_OK && call->unread > 0)
    kin_error_add_maybe_stored(&error, call->unread);
  if (error.class != KIN_OK)
    return kin_lua_error_push_nil(L, &error);
  lua_pushboolean(L, 1);
  lua_createtable(L, 0, 4);
  kin_lua_field_set(L, "shard_id", call->found[0]);
  kin_lua_field_set(L, "sequence_number", call->found[1]);
  kin_lua_field_set(L, "encryption_type", call->found[2]);
  kin_lua_field_set(L, "request_id", kin_slice_of(call->request.exchange.request_id));
  kin_lua_class_set(L, KIN_LUA_RESULT_META);
  return 2;
}

int kin_lua_call_put(lua_State *L, kin_engine *engine) {
  kin_slice stream, after;
  kin_put put;
  char random[KIN_LUA_CHECK_RANDOM_KEY];
  const kin_target *target = lua_touserdata(L, FIRST + 5); /* before anything is pushed */
  if (engine && kin_engine_forked(engine)) /* before OpenSSL, whose locks the parent may hold */
    return kin_lua_handle_push_gone(L, engine, "PutRecord");
  const char *message;
  if ((message = kin_lua_check_stream(L, FIRST, &stream)) ||
      (message = kin_lua_check_data(L, FIRST + 1, "", &put.data)) ||
      (message = kin_lua_check_key(L, FIRST + 2, "", &put.partition_key, random)) ||
      (message = kin_lua_check_hash_key(L, FIRST + 3, "", &put.explicit_hash_key)) ||
      (message =
           kin_lua_check_sequence_number(L, FIRST + 4, "sequence_number_for_ordering", &after)))
    return kin_lua_ticket_refuse(L, message);
  kin_lua_ticket *ticket =
      kin_lua_ticket_create(L, engine, put.data.len + put.partition_key.len, "PutRecord", push_put);
  if (!ticket)
    return 2;
  kin_call *call = kin_call_create("PutRecord", kin_engine_max_attempts(engine));
  if (call) {
    call->target = target;
    call->read = read_put;
    kin_put_record_build(&call->request.body, stream, &put, after);
  }
  return kin_lua_ticket_send(L, ticket, (kin_request *)call, "PutRecord");
}

/* ---- any operation ---- */

static int push_body(lua_State *L, const kin_message *message) {
  const kin_call *call = (const kin_call *)message;
  if (call->request.error.class != KIN_OK)
    return kin_lua_error_push_nil(L, &call->request.error);
  lua_pushboolean(L, 1);
  lua_pushlstring(L, call->request.exchange.answer.at, call->request.exchange.answer.len);
  lua_pushstring(L, call->request.exchange.request_id);
  return 3;
}

/* Sends the body at `index` on the stack; target and number of attempts follow it, or nil. */
static int send_body(lua_State *L, kin_engine *engine, const char *operation, int index,
                     bool streaming) {
  size_t len;
  const char *body = luaL_checklstring(L, index, &len);
  const kin_target *target = lua_touserdata(L, index + 1);
  int attempts = (int)luaL_optinteger(L, index + 2, 0); /* before anything is pushed */
  kin_lua_ticket *ticket = kin_lua_ticket_create(L, engine, len, operation, push_body);
  if (!ticket)
    return 2;
  unsigned max_attempts = attempts > 0 ? (unsigned)attempts : kin_engine_max_attempts(engine);
  kin_call *call = streaming ? (kin_call *)kin_subscription_create(engine, operation, max_attempts)
                             : kin_call_create(operation, max_attempts);
  if (call) {
    call->target = target;
    kin_buf_add(&call->request.body, body, len);
  }
  return kin_lua_ticket_send(L, ticket, (kin_request *)call, operation);
}

int kin_lua_call_send(lua_State *L, kin_engine *engine) {
  return send_body(L, engine, luaL_checkstring(L, FIRST), FIRST + 1, false);
}

int kin_lua_call_subscribe(lua_State *L, kin_engine *engine) {
  return send_body(L, engine, "SubscribeToShard", FIRST, true);
}
