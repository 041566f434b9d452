/* stepped_leases: the leases of a worker on a stepped engine, over a store in Lua, in a file, or in
 * DynamoDB.
 *
 *   leases = engine:leases{owner=, failover=, interval=, folder=, exit_timeout=}
 *                                       interval: by default a third of failover
 *   leases = engine:leases{…, table=, prefix=}   sends requests to DynamoDB
 *   leases:submit{number=, use=, kind=, key=, owner=, counter=, changes=JSON} -> true, validity
 *                                       see lua/leases.c
 *   leases:next()                       the same as there, with JSON in place of tables
 *   leases:pass(), leases:answer(outcome, JSON or message)
 *   leases:remove()                     ends the machine
 *   leases:close()                      the same, after it has released what it holds
 *   validity:holds(seconds)             whether records may be delivered then, from now */
#include <stdlib.h>

#include "lease/dynamo_store.h"
#include "lease/file_store.h"
#include "lease/leases.h"
#include "lease/lua_store.h"
#include "stepped.h"
#include "wire/json.h"

#define LEASES "stepped.leases"

#define VALIDITY "stepped.validity"

enum { OWNER_MAX = 64 };

typedef struct validity {
  kin_engine *engine;  /* counted */
  kin_deadline *until; /* counted; NULL: of no lease */
} validity;

typedef struct leases {
  kin_engine *engine; /* counted; it has no other machine that sends to Lua */
  uint64_t id;
  kin_message_list inbox;
} leases;

static leases *check(lua_State *L) {
  return luaL_checkudata(L, 1, LEASES);
}

static int remove_leases(lua_State *L) {
  leases *l = check(L);
  if (!l->engine)
    return 0;
  kin_message_list_free(&l->inbox);
  kin_engine_post_plain(l->engine, KIN_MESSAGE_REMOVE, l->id);
  kin_engine_release(l->engine);
  l->engine = NULL;
  return 0;
}

static int close_leases(lua_State *L) {
  leases *l = check(L);
  kin_engine_post_plain(l->engine, KIN_MESSAGE_LEASE_CLOSE, l->id);
  return 0;
}

static kin_lease_store *create_dynamo_store(lua_State *L, kin_engine *engine, uint64_t id) {
  kin_dynamo_stream stream = {.prefix = stepped_text(L, 2, "prefix")};
  kin_dynamo_table table = {stepped_text(L, 2, "table"), &stream, 1, false};
  kin_dynamo_store_options options = {.engine = engine,
                                      .machine = id,
                                      .target = stepped_dynamodb(L, engine),
                                      .table = &table,
                                      .failover =
                                          stepped_time(stepped_number(L, 2, "failover", 10))};
  return kin_dynamo_store_create(&options);
}

static kin_lease_store *create_store(lua_State *L, kin_engine *engine, uint64_t id) {
  kin_error error;
  if (stepped_text(L, 2, "table").at)
    return create_dynamo_store(L, engine, id);
  kin_slice folder = stepped_text(L, 2, "folder");
  if (!folder.at)
    return kin_lua_store_create(engine, id);
  kin_lease_store *store =
      kin_file_store_create(folder, kin_slice_of("counter"), stepped_text(L, 2, "owner"), &error);
  if (!store)
    luaL_error(L, "%s", error.message);
  return store;
}

int stepped_leases(lua_State *L) {
  kin_engine *engine = stepped_engine(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  leases *l = lua_newuserdatauv(L, sizeof *l, 0);
  *l = (leases){.id = kin_engine_id()};
  kin_message_list_init(&l->inbox);
  luaL_getmetatable(L, LEASES);
  lua_setmetatable(L, -2);
  kin_lease_store *store = create_store(L, engine, l->id);
  kin_buf owner = {0};
  kin_buf_init(&owner, OWNER_MAX);
  kin_json_add_string(&owner, stepped_text(L, 2, "owner"));
  double failover = stepped_number(L, 2, "failover", 10);
  kin_leases_options options = {
      .store = store,
      .owner = kin_buf_slice(&owner),
      .failover = stepped_time(failover),
      .interval = stepped_time(stepped_number(L, 2, "interval", failover / 3)),
      .exit_timeout = stepped_time(stepped_number(L, 2, "exit_timeout", 0))};
  if (store && owner.failed)
    store->vtable->free(store);
  kin_leases *made = store && !owner.failed ? kin_leases_create(l->id, &options) : NULL;
  kin_buf_free(&owner);
  if (!made)
    return luaL_error(L, "no leases: out of memory");
  kin_engine_hold(engine);
  l->engine = engine;
  if (!kin_leases_start(engine, made))
    return luaL_error(L, "the engine was stopped");
  return 1;
}

/* ---- operations ---- */

static const char *const kinds[] = {"list", "get", "create", "update", "delete", "probe", NULL};
static const char *const uses[] = {"plain", "take", "write", "carry", "release", "renew", NULL};
static const char *const outcomes[] = {"done", "refused", "failed", NULL};

static int choice(lua_State *L, const char *field, const char *otherwise,
                  const char *const *names) {
  lua_getfield(L, 2, field);
  int found = luaL_checkoption(L, -1, otherwise, names);
  lua_pop(L, 1);
  return found;
}

static validity *push_validity(lua_State *L, kin_engine *engine) {
  validity *v = lua_newuserdatauv(L, sizeof *v, 0);
  kin_engine_hold(engine);
  *v = (validity){.engine = engine};
  luaL_getmetatable(L, VALIDITY);
  lua_setmetatable(L, -2);
  return v;
}

static int submit(lua_State *L) {
  leases *l = check(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  kin_lease_op_kind kind = (kin_lease_op_kind)choice(L, "kind", NULL, kinds);
  kin_lease_use use = (kin_lease_use)choice(L, "use", "plain", uses);
  kin_slice key = stepped_text(L, 2, "key"), owner = stepped_text(L, 2, "owner");
  validity *v = push_validity(L, l->engine);
  kin_buf json = {0};
  kin_buf_init(&json, OWNER_MAX);
  if (owner.len > 0)
    kin_json_add_string(&json, owner);
  kin_lease_op *op = kin_lease_op_create(kind, key, kin_buf_slice(&json),
                                         (uint64_t)stepped_number(L, 2, "counter", 0));
  kin_buf_free(&json);
  if (!op)
    return luaL_error(L, "out of memory");
  op->use = use;
  op->number = (uint64_t)stepped_number(L, 2, "number", 0);
  op->message.owner = l->id;
  kin_buf_add_slice(&op->changes, stepped_text(L, 2, "changes"));
  if (use == KIN_LEASE_USE_TAKE && (op->taken = kin_lease_create(key)))
    v->until = kin_deadline_hold(op->taken->valid);
  lua_pushboolean(L, kin_engine_post(l->engine, &op->message));
  lua_insert(L, -2);
  return 2;
}

static void push_text(lua_State *L, kin_slice text) {
  if (text.len > 0)
    lua_pushlstring(L, text.at, text.len);
  else
    lua_pushboolean(L, 0);
}

static int push_done(lua_State *L, const kin_lease_op *op) {
  lua_pushliteral(L, "done");
  lua_pushinteger(L, (lua_Integer)op->number);
  lua_pushstring(L, outcomes[op->outcome]);
  push_text(L, op->outcome == KIN_LEASE_FAILED ? kin_slice_of(op->error.message)
                                               : kin_buf_slice(&op->answer));
  lua_pushstring(L, uses[op->use]);
  push_text(L, op->key);
  return 6;
}

static int push_question(lua_State *L, const kin_lease_op *op) {
  lua_pushliteral(L, "question");
  lua_pushstring(L, kinds[op->kind]);
  push_text(L, op->key);
  push_text(L, op->owner);
  lua_pushinteger(L, (lua_Integer)op->counter);
  push_text(L, kin_buf_slice(&op->changes));
  return 6;
}

static int next(lua_State *L) {
  leases *l = check(L);
  kin_message_list arrived;
  kin_message *message;
  kin_message_list_init(&arrived);
  kin_mailbox_take_all(kin_engine_outbox(l->engine), &arrived);
  while ((message = kin_message_list_take(&arrived))) {
    if (message->owner == l->id)
      kin_message_list_add(&l->inbox, message);
    else
      kin_message_free(message);
  }
  message = l->inbox.first;
  if (!message)
    return 0;
  if (message->kind == KIN_MESSAGE_LEASE_QUESTION)
    return push_question(L, (kin_lease_op *)message);
  if (message->kind == KIN_MESSAGE_LEASE)
    return push_done(L, (kin_lease_op *)message);
  if (message->kind == KIN_MESSAGE_LEASE_REFUSED) {
    lua_pushliteral(L, "gone");
    return 1;
  }
  kin_lease_event *event = (kin_lease_event *)message;
  lua_pushstring(L, message->kind == KIN_MESSAGE_LEASE_LOST ? "lost" : "wanted");
  lua_pushstring(L, event->key);
  push_text(L, kin_buf_slice(&event->row));
  return 3;
}

static int pass(lua_State *L) {
  kin_message_free(kin_message_list_take(&check(L)->inbox));
  return 0;
}

static int answer(lua_State *L) {
  leases *l = check(L);
  kin_lease_outcome outcome = (kin_lease_outcome)luaL_checkoption(L, 2, NULL, outcomes);
  size_t len = 0;
  const char *text = luaL_optlstring(L, 3, "", &len);
  kin_lease_op *op = (kin_lease_op *)kin_message_list_take(&l->inbox);
  op->outcome = outcome;
  kin_buf_clear(&op->answer);
  kin_error_clear(&op->error);
  if (outcome == KIN_LEASE_FAILED)
    kin_error_set(&op->error, KIN_TRANSIENT, KIN_CODE_LEASE_STORE, "%s", text);
  else
    kin_buf_add(&op->answer, text, len);
  op->message.kind = KIN_MESSAGE_LEASE_ANSWER;
  kin_engine_post(l->engine, &op->message);
  return 0;
}

static int holds(lua_State *L) {
  validity *v = luaL_checkudata(L, 1, VALIDITY);
  kin_clock *clock = kin_engine_clock(v->engine);
  kin_time at = clock->boottime(clock) + stepped_time(luaL_optnumber(L, 2, 0));
  lua_pushboolean(L, v->until && !kin_deadline_has_passed(v->until, at));
  return 1;
}

static int close_validity(lua_State *L) {
  validity *v = luaL_checkudata(L, 1, VALIDITY);
  kin_deadline_release(v->until);
  kin_engine_release(v->engine);
  return 0;
}

static void create_class(lua_State *L, const char *name, const luaL_Reg *methods) {
  luaL_newmetatable(L, name);
  for (const luaL_Reg *method = methods; method->name; method++) {
    lua_pushcfunction(L, method->func);
    lua_setfield(L, -2, method->name);
  }
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}

void stepped_leases_open(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"submit", submit},      {"next", next},
      {"pass", pass},          {"answer", answer},
      {"close", close_leases}, {"remove", remove_leases},
      {"__gc", remove_leases}, {NULL, NULL},
  };
  static const luaL_Reg validity_methods[] = {
      {"holds", holds}, {"__gc", close_validity}, {NULL, NULL}};
  create_class(L, LEASES, methods);
  create_class(L, VALIDITY, validity_methods);
}
