#include "lua/ticket.h"

#include <stdio.h>

#include "engine/process.h"
#include "engine/fetch.h"
#include "engine/subscription.h"
#include "producer/put_many.h"

#define TICKET "kinesis.ticket"

/* The arguments of a method start behind the object. */
enum { FIRST = 2 };

typedef struct ticket {
  kin_lua_handle handle; /* first */
  size_t bytes;          /* what it takes of the client's queue */
  bool in_flight_bytes;
  int (*push)(lua_State *L, const kin_request *request); /* pushes the response; how many values */
} ticket;

static void leave_in_flight(ticket *t) {
  if (t->in_flight_bytes && t->handle.engine)
    kin_budget_give(kin_engine_in_flight(t->handle.engine), t->bytes);
  t->in_flight_bytes = false;
}

static int close_ticket(lua_State *L) {
  ticket *t = luaL_checkudata(L, 1, TICKET);
  kin_engine *engine = t->handle.engine;
  if (engine && !kin_engine_forked(engine)) {
    if (t->in_flight_bytes) {
      kin_engine_post_plain(engine, KIN_MESSAGE_CANCEL, t->handle.id);
      kin_engine_post_plain(engine, KIN_MESSAGE_REMOVE, t->handle.id);
    }
    leave_in_flight(t);
  }
  kin_lua_handle_close(&t->handle);
  return 0;
}

/* Pushes a ticket that has passed the queue, or nil and why not. NULL in the second case. */
static ticket *new_ticket(lua_State *L, kin_engine *engine, size_t bytes, const char *operation) {
  if (kin_lua_engine_push_gone(L, engine, operation) > 0)
    return NULL;
  ticket *t = (ticket *)kin_lua_handle_create(L, sizeof *t, TICKET, engine);
  t->bytes = bytes;
  t->in_flight_bytes = kin_budget_take(kin_engine_in_flight(engine), bytes);
  if (t->in_flight_bytes)
    return t;
  kin_lua_push_own_error(L, KIN_CODE_FULL, operation,
                         "too many calls are under way on this client; wait for some of them");
  return NULL;
}

static int refuse(lua_State *L, const char *message) {
  lua_pushboolean(L, 0);
  lua_pushstring(L, message);
  return 2;
}

static int no_memory(lua_State *L, const char *operation) {
  return kin_lua_push_own_error(L, KIN_CODE_CONNECTION, operation, "out of memory");
}

static int send(lua_State *L, ticket *t, kin_request *request, const char *operation) {
  request->message.owner = t->handle.id;
  if (request->body.failed) {
    kin_message_free(&request->message);
    leave_in_flight(t);
    return no_memory(L, operation);
  }
  if (!kin_engine_post(t->handle.engine, &request->message)) {
    leave_in_flight(t);
    return kin_lua_engine_push_gone(L, t->handle.engine, operation);
  }
  return 1;
}

/* ---- put ---- */

static bool read_put(kin_call *call) {
  kin_put_result result;
  kin_buf *answer = &call->request.exchange.answer;
  bool good = kin_put_record_read(answer->at, answer->len, &result, &call->found[2]);
  call->found[0] = result.shard_id;
  call->found[1] = result.sequence_number;
  return good;
}

static int push_put(lua_State *L, const kin_request *request) {
  const kin_call *call = (const kin_call *)request;
  lua_createtable(L, 0, 4);
  kin_lua_set_slice(L, "shard_id", call->found[0]);
  kin_lua_set_slice(L, "sequence_number", call->found[1]);
  kin_lua_set_slice(L, "encryption_type", call->found[2]);
  kin_lua_set_slice(L, "request_id", kin_slice_of(request->exchange.request_id));
  luaL_getmetatable(L, KIN_RESULT_META);
  lua_setmetatable(L, -2);
  return 1;
}

int kin_lua_ticket_put(lua_State *L, kin_engine *engine) {
  kin_slice stream, after;
  kin_put put;
  char random[KIN_RANDOM_KEY];
  const kin_target *target = lua_touserdata(L, FIRST + 5); /* before anything is pushed */
  const char *message;
  if ((message = kin_lua_check_stream(L, FIRST, &stream)) ||
      (message = kin_lua_check_data(L, FIRST + 1, "", &put.data)) ||
      (message = kin_lua_check_key(L, FIRST + 2, "", &put.partition_key, random)) ||
      (message = kin_lua_check_hash_key(L, FIRST + 3, "", &put.explicit_hash_key)) ||
      (message =
           kin_lua_check_sequence_number(L, FIRST + 4, "sequence_number_for_ordering", &after)))
    return refuse(L, message);
  ticket *t = new_ticket(L, engine, put.data.len + put.partition_key.len, "PutRecord");
  if (!t)
    return 2;
  kin_call *call = kin_call_create("PutRecord", kin_engine_max_attempts(engine));
  if (!call)
    return no_memory(L, "PutRecord");
  call->target = target;
  call->read = read_put;
  t->push = push_put;
  kin_put_record_build(&call->request.body, stream, &put, after);
  return send(L, t, &call->request, "PutRecord");
}

/* ---- any operation ---- */

/* body, request id */
static int push_body(lua_State *L, const kin_request *request) {
  const kin_exchange *exchange = &request->exchange;
  lua_pushlstring(L, exchange->answer.at, exchange->answer.len);
  lua_pushstring(L, exchange->request_id);
  return 2;
}

int kin_lua_ticket_call(lua_State *L, kin_engine *engine) {
  size_t len;
  const char *operation = luaL_checkstring(L, FIRST);
  const char *body = luaL_checklstring(L, FIRST + 1, &len);
  const kin_target *target = lua_touserdata(L, FIRST + 2);
  ticket *t = new_ticket(L, engine, len, operation);
  if (!t)
    return 2;
  kin_call *call = kin_call_create(operation, kin_engine_max_attempts(engine));
  if (!call)
    return no_memory(L, operation);
  call->target = target;
  kin_buf_add(&call->request.body, body, len);
  t->push = push_body;
  return send(L, t, &call->request, operation);
}

/* subscribe(body, target) */
int kin_lua_ticket_subscribe(lua_State *L, kin_engine *engine) {
  size_t len;
  const char *body = luaL_checklstring(L, FIRST, &len);
  const kin_target *target = lua_touserdata(L, FIRST + 1);
  ticket *t = new_ticket(L, engine, len, "SubscribeToShard");
  if (!t)
    return 2;
  kin_subscription *subscription =
      kin_subscription_create(engine, "SubscribeToShard", kin_engine_max_attempts(engine));
  if (!subscription)
    return no_memory(L, "SubscribeToShard");
  subscription->call.target = target;
  kin_buf_add(&subscription->call.request.body, body, len);
  t->push = push_body;
  return send(L, t, &subscription->call.request, "SubscribeToShard");
}

/* ---- errands for credential providers ---- */

/* Texts of a list, one behind the other, each with its NUL; on the top of the stack. Raises when
 * one of them is no text, or holds a NUL. */
static size_t join(lua_State *L, int list) {
  size_t count = lua_rawlen(L, list);
  luaL_Buffer texts;
  luaL_buffinit(L, &texts);
  for (size_t i = 1; i <= count; i++) {
    size_t len;
    lua_rawgeti(L, list, (int)i);
    const char *text = lua_tolstring(L, -1, &len);
    if (!text || strlen(text) != len)
      luaL_error(L, "a text without NUL is expected at %d", (int)i);
    luaL_addvalue(&texts);
    luaL_addlstring(&texts, "", 1);
  }
  luaL_pushresult(&texts);
  return count;
}

static int push_fetched(lua_State *L, const kin_request *request) {
  const kin_exchange *exchange = &request->exchange;
  lua_createtable(L, 0, 2);
  lua_pushinteger(L, exchange->status);
  lua_setfield(L, -2, "status");
  lua_pushlstring(L, exchange->answer.at, exchange->answer.len);
  lua_setfield(L, -2, "body");
  return 1;
}

/* fetch(method, {url, header line, …}, body, timeout, connect_timeout, delay, direct) */
int kin_lua_ticket_fetch(lua_State *L, kin_engine *engine) {
  size_t head_len, body_len;
  const char *method = luaL_checkstring(L, FIRST);
  luaL_checktype(L, FIRST + 1, LUA_TTABLE);
  const char *body = luaL_optlstring(L, FIRST + 2, "", &body_len);
  kin_time timeout = kin_seconds(luaL_checknumber(L, FIRST + 3));
  kin_time connect_timeout = kin_seconds(luaL_checknumber(L, FIRST + 4));
  kin_time delay = kin_seconds(luaL_optnumber(L, FIRST + 5, 0));
  bool direct = lua_toboolean(L, FIRST + 6);
  luaL_argcheck(L, join(L, FIRST + 1) >= 1, FIRST + 1, "a URL is expected");
  const char *head = lua_tolstring(L, -1, &head_len);
  ticket *t = new_ticket(L, engine, body_len, NULL);
  if (!t)
    return 2;
  kin_fetch *fetch = kin_fetch_create(method, (kin_slice){head, head_len});
  if (!fetch)
    return no_memory(L, NULL);
  kin_exchange *exchange = &fetch->request.exchange;
  exchange->timeout = timeout;
  exchange->connect_timeout = connect_timeout;
  exchange->direct = direct;
  fetch->delay = delay;
  kin_buf_add(&fetch->request.body, body, body_len);
  t->push = push_fetched;
  return send(L, t, &fetch->request, NULL);
}

/* run({program, argument, …}, timeout) */
int kin_lua_ticket_run(lua_State *L, kin_engine *engine) {
  size_t len;
  luaL_checktype(L, FIRST, LUA_TTABLE);
  kin_time timeout = kin_seconds(luaL_checknumber(L, FIRST + 1));
  size_t count = join(L, FIRST);
  luaL_argcheck(L, count >= 1, FIRST, "a program is expected");
  const char *argv = lua_tolstring(L, -1, &len);
  ticket *t = new_ticket(L, engine, len, NULL);
  if (!t)
    return 2;
  if (kin_process_start(engine, (kin_slice){argv, len}, count, timeout, t->handle.id))
    return 1;
  leave_in_flight(t);
  return no_memory(L, NULL);
}

static void push_process_end(lua_State *L, const kin_process_end *end) {
  lua_createtable(L, 0, 3);
  lua_pushinteger(L, end->status);
  lua_setfield(L, -2, "status");
  lua_pushlstring(L, end->output.at, end->output.len);
  lua_setfield(L, -2, "output");
  lua_pushlstring(L, end->errors.at, end->errors.len);
  lua_setfield(L, -2, "errors");
}

/* ---- put_many ---- */

static const char *check_entry(lua_State *L, int entry, const char *where, kin_put *put,
                               char random[KIN_RANDOM_KEY]) {
  const char *message;
  if ((message = kin_lua_check_data(L, entry + 1, where, &put->data)) ||
      (message = kin_lua_check_key(L, entry + 2, where, &put->partition_key, random)) ||
      (message = kin_lua_check_hash_key(L, entry + 3, where, &put->explicit_hash_key)))
    return message;
  return NULL;
}

/* records[i] and its members, which stay on the stack so that the slices stay alive. NULL, or what
 * is wrong; only then is its place spelled out. */
static const char *read_entry(lua_State *L, int records, lua_Integer i, kin_put *put,
                              char random[KIN_RANDOM_KEY]) {
  char where[48];
  lua_rawgeti(L, records, (int)i);
  int entry = lua_gettop(L);
  if (lua_type(L, entry) != LUA_TTABLE)
    return lua_pushfstring(L, "records[%d] must be a table {data=, partition_key=}, got %s", (int)i,
                           luaL_typename(L, entry));
  lua_getfield(L, entry, "data");
  lua_getfield(L, entry, "partition_key");
  lua_getfield(L, entry, "explicit_hash_key");
  if (!check_entry(L, entry, "", put, random))
    return NULL;
  snprintf(where, sizeof where, "records[%lld].", (long long)i);
  return check_entry(L, entry, where, put, random);
}

/* NULL, or what is wrong with the first wrong record from `first` on. */
static const char *check_records(lua_State *L, int records, lua_Integer first) {
  char random[KIN_RANDOM_KEY];
  kin_put put;
  int top = lua_gettop(L);
  lua_Integer count = (lua_Integer)lua_rawlen(L, records);
  for (lua_Integer i = first; i <= count; i++) {
    const char *message = read_entry(L, records, i, &put, random);
    if (message)
      return message;
    lua_settop(L, top);
  }
  return NULL;
}

/* Copies records from `first` on until the chunk is full. Returns the index behind the last, or 0
 * with the message of a wrong record on the top of the stack. */
static lua_Integer fill(lua_State *L, kin_put_many *chunk, int records, lua_Integer first) {
  char random[KIN_RANDOM_KEY];
  kin_put put;
  int top = lua_gettop(L);
  lua_Integer i = first, count = (lua_Integer)lua_rawlen(L, records);
  for (; i <= count; i++) {
    if (read_entry(L, records, i, &put, random))
      return 0;
    bool added = kin_put_many_add(chunk, &put);
    lua_settop(L, top);
    if (!added)
      break;
  }
  return i;
}

/* Lua can raise while the chunk is being filled (memory, a metamethod), so that a userdata owns it
 * meanwhile. */
typedef struct keeper {
  kin_put_many *chunk;
} keeper;

#define KEEPER "kinesis.keeper"

static int close_keeper(lua_State *L) {
  keeper *k = luaL_checkudata(L, 1, KEEPER);
  if (k->chunk)
    kin_message_free(&k->chunk->message);
  k->chunk = NULL;
  return 0;
}

int kin_lua_ticket_put_chunk(lua_State *L, kin_engine *engine) {
  kin_slice stream;
  const char *message = kin_lua_check_stream(L, FIRST, &stream);
  const kin_target *target = lua_touserdata(L, FIRST + 3);
  lua_Integer first = luaL_checkinteger(L, FIRST + 2);
  if (message)
    return refuse(L, message);
  luaL_checktype(L, FIRST + 1, LUA_TTABLE);
  keeper *k = kin_lua_new_userdata(L, sizeof *k);
  k->chunk = NULL;
  luaL_getmetatable(L, KEEPER);
  lua_setmetatable(L, -2);
  k->chunk = kin_put_many_create(stream);
  if (!k->chunk)
    return no_memory(L, "PutRecords");
  k->chunk->target = target;
  lua_Integer next = fill(L, k->chunk, FIRST + 1, first);
  if (next == 0)
    return refuse(L, lua_tostring(L, -1));
  if (k->chunk->body.failed)
    return no_memory(L, "PutRecords");
  if (next == first)
    return refuse(L, "records ends before that");
  /* before anything is sent, the records of later chunks are looked at too */
  if (first == 1 && (message = check_records(L, FIRST + 1, next)))
    return refuse(L, message);
  ticket *t = new_ticket(L, engine, k->chunk->bytes, "PutRecords");
  if (!t)
    return 2;
  lua_pushinteger(L, next);
  kin_put_many *chunk = k->chunk;
  k->chunk = NULL;
  if (kin_put_many_start(engine, chunk, t->handle.id))
    return 2;
  leave_in_flight(t);
  return no_memory(L, "PutRecords");
}

/* Stack indices. */
typedef struct result_names {
  int meta, shard_id, sequence_number, encryption_type;
} result_names;

static result_names push_result_names(lua_State *L) {
  int top = lua_gettop(L);
  luaL_getmetatable(L, KIN_RESULT_META);
  lua_pushliteral(L, "shard_id");
  lua_pushliteral(L, "sequence_number");
  lua_pushliteral(L, "encryption_type");
  return (result_names){top + 1, top + 2, top + 3, top + 4};
}

static void push_stored(lua_State *L, const result_names *names, const kin_put_result *result,
                        kin_slice encryption_type) {
  bool encrypted = encryption_type.len > 0;
  lua_createtable(L, 0, encrypted ? 3 : 2);
  kin_lua_set_named(L, names->shard_id, result->shard_id);
  kin_lua_set_named(L, names->sequence_number, result->sequence_number);
  if (encrypted)
    kin_lua_set_named(L, names->encryption_type, encryption_type);
}

/* Fills results[first …] and pushes how many failed. */
static void push_results(lua_State *L, const kin_put_many *chunk, int results, lua_Integer first) {
  lua_Integer failed = 0;
  result_names names = push_result_names(L);
  for (size_t i = 0; i < chunk->count; i++) {
    const kin_put_result *result = &chunk->results[i];
    if (result->code.len > 0) {
      failed++;
      lua_createtable(L, 0, 4);
      kin_lua_set_slice(L, "code", result->code);
      kin_lua_set_slice(L, "message", result->message);
    } else {
      push_stored(L, &names, result, chunk->encryption_type);
    }
    if (chunk->entries[i].attempts != 1) {
      lua_pushinteger(L, chunk->entries[i].attempts);
      lua_setfield(L, -2, "attempts");
    }
    lua_pushvalue(L, names.meta);
    lua_setmetatable(L, -2);
    lua_rawseti(L, results, (int)(first + (lua_Integer)i));
  }
  lua_pushinteger(L, failed);
}

/* ---- answers ---- */

/* false: not yet | true, value | nil, error. For a chunk: answer(results, first) -> true, failed.
 * For an operation: true, body, request id.
 * The message is freed by the ticket when it is closed, or by the next call: Lua may raise here. */
static int answer(lua_State *L) {
  ticket *t = luaL_checkudata(L, 1, TICKET);
  kin_engine *engine = t->handle.engine;
  bool forked = engine && kin_engine_forked(engine); /* what arrived is the parent's */
  kin_message *message = forked ? NULL : t->handle.inbox.first;
  if (!message) {
    int gone = kin_lua_engine_push_gone(L, engine, NULL);
    if (gone > 0)
      return gone;
    lua_pushboolean(L, 0);
    return 1;
  }
  int results = 2;
  leave_in_flight(t);
  lua_pushboolean(L, 1);
  if (message->kind == KIN_MESSAGE_PUT_MANY_DONE) {
    luaL_checktype(L, 2, LUA_TTABLE);
    push_results(L, (kin_put_many *)message, 2, luaL_checkinteger(L, 3));
  } else if (message->kind == KIN_MESSAGE_PROCESS_OVER) {
    const kin_process_end *end = (kin_process_end *)message;
    if (end->error.class != KIN_OK)
      kin_lua_push_nil_error(L, &end->error);
    else
      push_process_end(L, end);
  } else {
    const kin_request *request = (kin_request *)message;
    if (request->error.class != KIN_OK)
      kin_lua_push_nil_error(L, &request->error);
    else
      results = 1 + t->push(L, request);
  }
  kin_message_free(kin_message_list_take(&t->handle.inbox));
  return results;
}

/* Of a stream: false: nothing yet | true, event | nil: it is over | nil, error. */
static int event(lua_State *L) {
  ticket *t = luaL_checkudata(L, 1, TICKET);
  kin_engine *engine = t->handle.engine;
  bool forked = engine && kin_engine_forked(engine);
  kin_message *message = forked ? NULL : t->handle.inbox.first;
  if (!message || message->kind != KIN_MESSAGE_STREAMED) {
    int results = answer(L);
    if (!message || lua_isnil(L, -results))
      return results;
    lua_pushnil(L); /* a good end */
    return 1;
  }
  const kin_streamed *streamed = (kin_streamed *)message;
  lua_pushboolean(L, 1);
  lua_pushlstring(L, streamed->payload, streamed->len);
  kin_message_free(kin_message_list_take(&t->handle.inbox));
  return 2;
}

static int id(lua_State *L) {
  return kin_lua_handle_id(L, luaL_checkudata(L, 1, TICKET));
}

void kin_lua_ticket_open(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"answer", answer}, {"event", event}, {"id", id}, {NULL, NULL}};
  static const luaL_Reg none[] = {{NULL, NULL}};
  kin_lua_new_class(L, TICKET, methods, close_ticket);
  kin_lua_new_class(L, KEEPER, none, close_keeper);
}
