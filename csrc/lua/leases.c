#include "lua/leases.h"

#include "lease/dynamo_store.h"
#include "lease/file_store.h"
#include "lease/leases.h"
#include "lease/lua_store.h"
#include "lua/error.h"
#include "lua/field.h"
#include "lua/handle.h"
#include "lua/json.h"
#include "wire/json.h"

#define LEASES "kinesis.leases"
#define VALIDITY "kinesis.validity"

enum { FIRST = 2 };

typedef struct leases {
  kin_lua_handle handle;       /* first */
  kin_message *reserved_close; /* owned: a close needs no memory */
  kin_leases *unstarted;       /* owned, while it is being made */
  kin_message_list asked;      /* questions that Lua is answering */
} leases;

static int close_leases(lua_State *L) {
  leases *l = luaL_checkudata(L, 1, LEASES);
  kin_engine *engine = l->handle.engine;
  if (engine && !kin_engine_forked(engine)) {
    kin_leases_free(l->unstarted);
    if (l->reserved_close)
      kin_engine_post(engine, l->reserved_close);
  }
  l->unstarted = NULL;
  l->reserved_close = NULL;
  if (!engine || !kin_engine_forked(engine))
    kin_message_list_free(&l->asked);
  kin_lua_handle_close(&l->handle);
  return 0;
}

/* ---- creation ---- */

/* The store of the fields table, target, kcl3, and streams, which is a list of {prefix=, name=}. */
static kin_lease_store *create_dynamo_store(lua_State *L, kin_engine *engine, uint64_t id,
                                            kin_slice name) {
  kin_dynamo_table table = {.name = name, .kcl3 = kin_lua_field_boolean(L, FIRST, "kcl3")};
  kin_dynamo_store_options options = {.engine = engine,
                                      .machine = id,
                                      .target = kin_lua_field_pointer(L, FIRST, "target"),
                                      .table = &table,
                                      .failover =
                                          kin_seconds(kin_lua_field_number(L, FIRST, "failover"))};
  lua_getfield(L, FIRST, "streams"); /* the list keeps the texts */
  int list = lua_gettop(L);
  size_t count = lua_rawlen(L, list);
  kin_dynamo_stream *streams = kin_lua_class_userdata(L, (count + 1) * sizeof *streams);
  for (; table.count < count; table.count++) {
    lua_rawgeti(L, list, (int)table.count + 1);
    streams[table.count] = (kin_dynamo_stream){kin_lua_field_slice(L, list + 2, "prefix"),
                                               kin_lua_field_slice(L, list + 2, "name")};
    lua_settop(L, list + 1);
  }
  table.streams = streams;
  kin_lease_store *store = kin_dynamo_store_create(&options);
  lua_settop(L, list - 1);
  return store;
}

static kin_lease_store *create_store(lua_State *L, kin_engine *engine, uint64_t id,
                                     kin_error *error) {
  kin_slice folder = kin_lua_field_slice(L, FIRST, "folder");
  kin_slice table = kin_lua_field_slice(L, FIRST, "table");
  if (folder.len > 0)
    return kin_file_store_create(folder, kin_lua_field_slice(L, FIRST, "application"),
                                 kin_lua_field_slice(L, FIRST, "worker"), error);
  kin_lease_store *store =
      table.len > 0 ? create_dynamo_store(L, engine, id, table) : kin_lua_store_create(engine, id);
  kin_error_clear(error);
  if (!store)
    kin_error_set(error, KIN_TRANSIENT, KIN_CODE_OUT_OF_MEMORY, "out of memory");
  return store;
}

int kin_lua_leases_push(lua_State *L, kin_engine *engine) {
  static const char operation[] = "leases";
  int gone = kin_lua_handle_push_gone(L, engine, operation);
  if (gone > 0)
    return gone;
  luaL_checktype(L, FIRST, LUA_TTABLE);
  kin_error error;
  kin_buf owner;
  leases *l = (leases *)kin_lua_handle_create(L, sizeof *l, LEASES, engine);
  kin_message_list_init(&l->asked);
  l->reserved_close = kin_message_plain(KIN_MESSAGE_LEASE_CLOSE, l->handle.id);
  if (!l->reserved_close)
    return kin_lua_error_push_no_memory(L, operation);
  kin_lease_store *store = create_store(L, engine, l->handle.id, &error);
  if (!store)
    return kin_lua_error_push_nil(L, &error);
  kin_buf_init(&owner, KIN_LEASE_CHANGES_MAX);
  kin_json_add_string(&owner, kin_lua_field_slice(L, FIRST, "worker"));
  kin_leases_options options = {.store = store,
                                .owner = kin_buf_slice(&owner),
                                .failover = kin_seconds(kin_lua_field_number(L, FIRST, "failover")),
                                .interval = kin_seconds(kin_lua_field_number(L, FIRST, "interval")),
                                .exit_timeout =
                                    kin_seconds(kin_lua_field_number(L, FIRST, "exit_timeout"))};
  l->unstarted = kin_leases_create(l->handle.id, &options);
  bool failed = owner.failed || !l->unstarted;
  kin_buf_free(&owner);
  if (failed)
    return kin_lua_error_push_no_memory(L, operation);
  kin_leases *started = l->unstarted;
  l->unstarted = NULL;
  return kin_leases_start(engine, started) ? 1 : kin_lua_handle_push_gone(L, engine, operation);
}

/* ---- validity ---- */

/* Until when records of a lease may be delivered: a userdata that holds its deadline. */
static kin_deadline **push_validity(lua_State *L) {
  kin_deadline **held = kin_lua_class_userdata(L, sizeof *held);
  *held = NULL;
  kin_lua_class_set(L, VALIDITY);
  return held;
}

static int close_validity(lua_State *L) {
  kin_deadline **held = luaL_checkudata(L, 1, VALIDITY);
  kin_deadline_release(*held);
  *held = NULL;
  return 0;
}

/* validity:holds() -> whether records of the lease may be delivered now */
static int holds(lua_State *L) {
  kin_deadline **held = luaL_checkudata(L, 1, VALIDITY);
  lua_pushboolean(L, *held && !kin_deadline_has_passed(*held, kin_boottime()));
  return 1;
}

/* ---- operations ---- */

static const char *const kinds[] = {"list", "get", "create", "update", "delete", "probe", NULL};
static const char *const uses[] = {"plain", "take", "write", "carry", "release", "renew", NULL};
static const char *const outcomes[] = {"done", "refused", "failed", NULL};

/* The operation of the table at FIRST; NULL: out of memory, or a field that JSON does not have. */
static kin_lease_op *create_op(lua_State *L, kin_lease_op_kind kind, kin_lease_use use) {
  kin_slice key = kin_lua_field_slice(L, FIRST, "key");
  kin_slice owner = kin_lua_field_slice(L, FIRST, "owner");
  kin_buf json;
  kin_buf_init(&json, KIN_LEASE_CHANGES_MAX);
  if (owner.len > 0)
    kin_json_add_string(&json, owner);
  kin_lease_op *op = json.failed
                         ? NULL
                         : kin_lease_op_create(kind, key, kin_buf_slice(&json),
                                               (uint64_t)kin_lua_field_number(L, FIRST, "counter"));
  kin_buf_free(&json);
  if (!op)
    return NULL;
  op->use = use;
  op->number = (uint64_t)kin_lua_field_number(L, FIRST, "number");
  if (use == KIN_LEASE_USE_TAKE && !(op->taken = kin_lease_create(key))) {
    kin_message_free(&op->message);
    return NULL;
  }
  return op;
}

/* leases:submit{number=, use=, kind=, key=, owner=, counter=, changes=} -> true, validity | nil,
 * error: see lease/op.h and lease/leases.h; `next` returns the outcome. `validity`: of what TAKE
 * takes. */
static int submit(lua_State *L) {
  static const char operation[] = "leases";
  leases *l = luaL_checkudata(L, 1, LEASES);
  luaL_checktype(L, FIRST, LUA_TTABLE);
  lua_getfield(L, FIRST, "kind");
  lua_getfield(L, FIRST, "use");
  lua_getfield(L, FIRST, "changes");
  kin_lease_op_kind kind = (kin_lease_op_kind)luaL_checkoption(L, FIRST + 1, NULL, kinds);
  kin_lease_use use = (kin_lease_use)luaL_checkoption(L, FIRST + 2, "plain", uses);
  int gone = kin_lua_handle_push_gone(L, l->handle.engine, operation);
  if (gone > 0)
    return gone;
  kin_deadline **validity = push_validity(L);
  kin_lease_op *op = create_op(L, kind, use);
  if (!op)
    return kin_lua_error_push_no_memory(L, operation);
  if (op->taken)
    *validity = kin_deadline_hold(op->taken->valid);
  op->message.owner = l->handle.id;
  const char *problem =
      lua_istable(L, FIRST + 3) ? kin_lua_json_add(L, FIRST + 3, &op->changes) : NULL;
  if (problem || op->changes.failed) {
    kin_message_free(&op->message);
    return problem ? luaL_error(L, "changes: %s", problem)
                   : kin_lua_error_push_no_memory(L, operation);
  }
  lua_pushboolean(L, kin_engine_post(l->handle.engine, &op->message));
  lua_insert(L, -2);
  return 2;
}

/* Pushes the JSON as a value, or false when there is none. Decoding is done in place, and the text
 * may be needed again: the value is read from a copy, which Lua owns. */
static void push_json(lua_State *L, kin_slice text) {
  kin_buf copy = {.at = lua_newuserdata(L, text.len + 1), .len = text.len};
  if (text.len > 0)
    memcpy(copy.at, text.at, text.len);
  if (text.len == 0 || !kin_lua_json_push(L, &copy))
    lua_pushboolean(L, 0);
  lua_remove(L, -2);
}

/* "done", number, outcome, answer or error, use, key */
static int push_outcome(lua_State *L, kin_lease_op *op) {
  lua_pushliteral(L, "done");
  lua_pushinteger(L, (lua_Integer)op->number);
  lua_pushstring(L, outcomes[op->outcome]);
  if (op->outcome == KIN_LEASE_FAILED)
    kin_lua_error_push(L, &op->error);
  else
    push_json(L, kin_buf_slice(&op->answer));
  lua_pushstring(L, uses[op->use]);
  lua_pushlstring(L, op->key.at, op->key.len);
  return 6;
}

/* "question", kind, key, owner or false, counter, changes or false */
static int push_question(lua_State *L, const kin_lease_op *op) {
  lua_pushliteral(L, "question");
  lua_pushstring(L, kinds[op->kind]);
  lua_pushlstring(L, op->key.at, op->key.len);
  push_json(L, op->owner);
  lua_pushinteger(L, (lua_Integer)op->counter);
  push_json(L, kin_buf_slice(&op->changes));
  return 6;
}

static bool is_forked(const leases *l) {
  return l->handle.engine && kin_engine_forked(l->handle.engine);
}

/* leases:next() ->
 *   nil: nothing yet
 *   "gone": the engine has no memory for the machine; nothing is answered
 *   "done", number, "done"|"refused"|"failed", row or rows or false, or the error, use, key
 *   "lost", key, row or false
 *   "wanted", key, row
 *   "question", kind, key, owner or false, counter, changes or false: of a store in Lua; `claim`
 *     takes it, and `answer` replies
 * The same again until `pass` or `claim`: an error that is thrown in between loses nothing. */
static int next(lua_State *L) {
  leases *l = luaL_checkudata(L, 1, LEASES);
  kin_message *message = l->handle.inbox.first;
  if (!message || is_forked(l))
    return 0;
  if (message->kind == KIN_MESSAGE_LEASE_QUESTION && kin_engine_stopped(l->handle.engine))
    return 0; /* the machine is freed, which owned what the question points at */
  if (message->kind == KIN_MESSAGE_LEASE_QUESTION)
    return push_question(L, (kin_lease_op *)message);
  if (message->kind == KIN_MESSAGE_LEASE)
    return push_outcome(L, (kin_lease_op *)message);
  if (message->kind == KIN_MESSAGE_LEASE_REFUSED) {
    lua_pushliteral(L, "gone");
    return 1;
  }
  kin_lease_event *event = (kin_lease_event *)message;
  lua_pushstring(L, message->kind == KIN_MESSAGE_LEASE_LOST ? "lost" : "wanted");
  lua_pushstring(L, event->key);
  push_json(L, kin_buf_slice(&event->row));
  return 3;
}

/* leases:pass(): what `next` has returned was handled. */
static int pass(lua_State *L) {
  leases *l = luaL_checkudata(L, 1, LEASES);
  if (l->handle.inbox.first && !is_forked(l))
    kin_message_free(kin_message_list_take(&l->handle.inbox));
  return 0;
}

/* leases:claim() -> token of the question that `next` has returned, which is answered later, beside
 * others. */
static int claim(lua_State *L) {
  leases *l = luaL_checkudata(L, 1, LEASES);
  kin_message *message = l->handle.inbox.first;
  if (!message || is_forked(l) || message->kind != KIN_MESSAGE_LEASE_QUESTION)
    return 0;
  kin_message_list_take(&l->handle.inbox);
  kin_message_list_add(&l->asked, message);
  lua_pushlightuserdata(L, message);
  return 1;
}

/* Takes a message out of a list; NULL: it is not in it. */
static kin_message *take_out(kin_message_list *list, const void *wanted) {
  kin_message_list others;
  kin_message *found = NULL, *message;
  kin_message_list_init(&others);
  while ((message = kin_message_list_take(list))) {
    if (message == wanted)
      found = message;
    else
      kin_message_list_add(&others, message);
  }
  while ((message = kin_message_list_take(&others)))
    kin_message_list_add(list, message);
  return found;
}

static void fail_question(kin_lease_op *op, kin_error_class class, const char *code,
                          const char *message) {
  kin_error error;
  kin_error_clear(&error);
  kin_error_set(&error, class, code, "%s", message);
  kin_lease_op_fail(op, &error);
}

/* leases:answer(token, "done"|"refused"|"failed", value or message [, fatal]): of a question that
 * was claimed. A value that JSON cannot hold makes it a failure. */
static int answer(lua_State *L) {
  enum { OUTCOME = FIRST + 1, VALUE, IS_FATAL };
  leases *l = luaL_checkudata(L, 1, LEASES);
  kin_lease_outcome outcome = (kin_lease_outcome)luaL_checkoption(L, OUTCOME, NULL, outcomes);
  const char *message = lua_isstring(L, VALUE) ? lua_tostring(L, VALUE) : "the store has failed";
  kin_error_class class = lua_toboolean(L, IS_FATAL) ? KIN_FATAL : KIN_TRANSIENT;
  kin_lease_op *op = NULL;
  if (!is_forked(l))
    op = (kin_lease_op *)take_out(&l->asked, lua_touserdata(L, FIRST));
  if (!op)
    return 0;
  op->outcome = outcome;
  kin_buf_clear(&op->answer);
  const char *problem = outcome != KIN_LEASE_FAILED && lua_istable(L, VALUE)
                            ? kin_lua_json_add(L, VALUE, &op->answer)
                            : NULL;
  if (outcome == KIN_LEASE_FAILED)
    fail_question(op, class, KIN_CODE_LEASE_STORE, message);
  else if (op->answer.out_of_memory)
    fail_question(op, KIN_TRANSIENT, KIN_CODE_OUT_OF_MEMORY, "out of memory");
  else if (problem || op->answer.failed)
    fail_question(op, KIN_TRANSIENT, KIN_CODE_LEASE_STORE,
                  problem ? problem : "the store's answer is larger than 64 MiB");
  op->message.kind = KIN_MESSAGE_LEASE_ANSWER;
  kin_engine_post(l->handle.engine, &op->message);
  return 0;
}

static int id(lua_State *L) {
  return kin_lua_handle_id(L, luaL_checkudata(L, 1, LEASES));
}

void kin_lua_leases_open(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"submit", submit}, {"next", next}, {"pass", pass}, {"claim", claim},
      {"answer", answer}, {"id", id},     {NULL, NULL},
  };
  static const luaL_Reg validity_methods[] = {{"holds", holds}, {NULL, NULL}};
  kin_lua_class_create(L, LEASES, methods, close_leases);
  kin_lua_class_create(L, VALIDITY, validity_methods, close_validity);
}
