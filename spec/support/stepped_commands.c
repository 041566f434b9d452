/* stepped: the commands of specs to an engine: calls, subscriptions, credentials, readers,
 * put_many. */
#include <stdio.h>
#include <stdlib.h>

#include "consumer/commands.h"
#include "consumer/reader.h"
#include "engine/subscription.h"
#include "producer/put_many.h"
#include "stepped.h"
#include "torture.h"

static int push_id(lua_State *L, uint64_t id) {
  lua_pushinteger(L, (lua_Integer)id);
  return 1;
}

static int posted(lua_State *L, bool taken, uint64_t id) {
  if (taken)
    return push_id(L, id);
  lua_pushnil(L);
  lua_pushliteral(L, "the engine was stopped");
  return 2;
}

const kin_target *stepped_dynamodb(lua_State *L, kin_engine *engine) {
  const kin_endpoint endpoint = {.service = &kin_service_dynamodb,
                                 .region = "eu-west-1",
                                 .url = "https://dynamodb.test/",
                                 .host = "dynamodb.test",
                                 .path = "/"};
  const kin_target *target = kin_engine_target(engine, &endpoint);
  return target ? target : (luaL_error(L, "out of memory"), NULL);
}

/* The target of options.service; NULL: the engine's. */
static const kin_target *other_target(lua_State *L, kin_engine *engine) {
  kin_slice service = stepped_text(L, 4, "service");
  if (!service.at)
    return NULL;
  if (!kin_slice_is(service, kin_service_dynamodb.name))
    luaL_error(L, "no such service");
  return stepped_dynamodb(L, engine);
}

/* engine:call(operation, body [, {max_attempts=, deadline=seconds from now, service="dynamodb"}])
 * -> id */
int stepped_call(lua_State *L) {
  kin_engine *engine = stepped_engine(L);
  size_t len;
  const char *operation = luaL_checkstring(L, 2), *body = luaL_checklstring(L, 3, &len);
  lua_settop(L, 4);
  if (lua_isnil(L, 4)) {
    lua_newtable(L);
    lua_replace(L, 4);
  }
  luaL_checktype(L, 4, LUA_TTABLE);
  double attempts = stepped_number(L, 4, "max_attempts", kin_engine_max_attempts(engine));
  double deadline = stepped_number(L, 4, "deadline", -1);
  const kin_target *target = other_target(L, engine);
  kin_call *made = kin_call_create(operation, (unsigned)attempts);
  if (!made)
    return luaL_error(L, "out of memory");
  uint64_t id = made->request.message.owner = kin_engine_id();
  made->target = target;
  if (deadline >= 0)
    made->request.deadline = kin_engine_now(engine) + stepped_time(deadline);
  kin_buf_add(&made->request.body, body, len);
  if (made->request.body.failed) {
    kin_message_free(&made->request.message);
    return luaL_error(L, "out of memory");
  }
  return posted(L, kin_engine_post(engine, &made->request.message), id);
}

/* ---- subscriptions ---- */

/* A machine that forwards the messages of its subscription to Lua, with its own id as owner. */
typedef struct subscriber {
  kin_machine machine;            /* first */
  kin_subscription *subscription; /* until it is sent */
} subscriber;

static void forward(kin_machine *machine, kin_message *message) {
  message->owner = machine->id;
  kin_engine_notify(machine->engine, message);
}

static kin_time step_subscriber(kin_machine *machine, kin_time now) {
  subscriber *self = (subscriber *)machine;
  (void)now;
  if (self->subscription)
    kin_engine_send(machine->engine, &self->subscription->call.request);
  self->subscription = NULL;
  return KIN_NEVER;
}

static void destroy_subscriber(kin_machine *machine) {
  subscriber *self = (subscriber *)machine;
  if (self->subscription)
    kin_message_free(&self->subscription->call.request.message);
  free(self);
}

static void free_subscriber(kin_message *message) {
  destroy_subscriber((kin_machine *)message);
}

static void refuse_subscriber(kin_machine *machine) {
  (void)machine;
}

/* engine:subscribe([by_machine [, max_attempts]]) -> id: of the subscription, or of its machine */
int stepped_subscribe(lua_State *L) {
  static const kin_machine_vtable vtable = {
      forward, step_subscriber, refuse_subscriber, destroy_subscriber, NULL, NULL};
  kin_engine *engine = stepped_engine(L);
  uint64_t id = kin_engine_id();
  kin_subscription *made =
      kin_subscription_create(engine, "SubscribeToShard", (unsigned)luaL_optinteger(L, 3, 3));
  subscriber *machine = __real_calloc(1, sizeof *machine);
  if (!made || !machine)
    return luaL_error(L, "out of memory");
  made->call.request.message.owner = id;
  if (!lua_toboolean(L, 2)) {
    free(machine);
    return posted(L, kin_engine_post(engine, &made->call.request.message), id);
  }
  made->call.request.machine = id;
  made->call.request.message.owner = 0;
  *machine = (subscriber){
      .machine = {.message = {.kind = KIN_MESSAGE_MACHINE, .free = free_subscriber},
                  .vtable = &vtable,
                  .id = id},
      .subscription = made,
  };
  return posted(L, kin_engine_post(engine, &machine->machine.message), id);
}

/* engine:cancel(id): a call or a put_many; what a ticket does when it is closed */
int stepped_cancel(lua_State *L) {
  kin_engine *engine = stepped_engine(L);
  uint64_t id = (uint64_t)luaL_checkinteger(L, 2);
  kin_engine_post_plain(engine, KIN_MESSAGE_CANCEL, id);
  kin_engine_post_plain(engine, KIN_MESSAGE_REMOVE, id);
  return 0;
}

/* engine:credentials(access_key_id, secret_access_key [, session_token [, expires [, fixed]]]) */
int stepped_credentials(lua_State *L) {
  kin_engine *engine = stepped_engine(L);
  kin_credentials given = {luaL_checkstring(L, 2), luaL_checkstring(L, 3),
                           luaL_optstring(L, 4, NULL)};
  kin_time expires = lua_isnoneornil(L, 5) ? KIN_NEVER : stepped_time(luaL_checknumber(L, 5));
  kin_credentials_message *message = kin_credentials_message_create(&given, NULL, expires);
  if (!message)
    return luaL_error(L, "out of memory");
  message->fixed = lua_toboolean(L, 6);
  return posted(L, kin_engine_post(engine, &message->message), 0);
}

int stepped_credentials_failed(lua_State *L) {
  kin_engine *engine = stepped_engine(L);
  const char *why = luaL_checkstring(L, 2);
  kin_credentials_message *message = kin_credentials_message_create(NULL, NULL, KIN_NEVER);
  if (!message)
    return luaL_error(L, "out of memory");
  kin_error_set(&message->error, KIN_FATAL, KIN_CODE_NO_CREDENTIALS, "%s", why);
  return posted(L, kin_engine_post(engine, &message->message), 0);
}

/* ---- readers ---- */

/* {kind=, sequence_number=, timestamp=}; returns whether it is SHARD_END */
static bool read_from(lua_State *L, int table, kin_from *from) {
  static const char *const kinds[] = {
      "TRIM_HORIZON", "LATEST", "AT_TIMESTAMP", "AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER",
      "SHARD_END",    NULL};
  int which = 0;
  luaL_checktype(L, table, LUA_TTABLE);
  kin_slice kind = stepped_text(L, table, "kind");
  while (kind.at && kinds[which] && !kin_slice_is(kind, kinds[which]))
    which++;
  if (!stepped_text(L, table, "id").at || !kinds[which])
    luaL_error(L, "a shard without an id, or of an unknown kind");
  *from = (kin_from){.kind = which <= KIN_FROM_AFTER ? (kin_from_kind)which : KIN_FROM_TRIM_HORIZON,
                     .timestamp = stepped_number(L, table, "timestamp", 0)};
  kin_slice_copy(stepped_text(L, table, "sequence_number"), from->sequence_number,
                 sizeof from->sequence_number);
  return which > KIN_FROM_AFTER;
}

/* A position with {id=, parent_id=, adjacent_parent_id=, closed=, unlisted=, first=, last=} on the
 * top; false when memory is out */
static bool add_shard(lua_State *L, kin_reader *made) {
  int table = lua_gettop(L);
  kin_from from;
  bool to_end = read_from(L, table, &from);
  kin_slice parents[] = {stepped_text(L, table, "parent_id"),
                         stepped_text(L, table, "adjacent_parent_id")};
  kin_shard_known known = {.closed = stepped_boolean(L, table, "closed"),
                           .unlisted = stepped_boolean(L, table, "unlisted"),
                           .read = to_end};
  kin_slice first = stepped_text(L, table, "first"), last = stepped_text(L, table, "last");
  known.has_range = first.at && last.at && kin_hash_range_parse(first, last, &known.range);
  kin_shard *shard = kin_shard_create(stepped_text(L, table, "id"), &from);
  if (shard)
    kin_shard_set_known(shard, known);
  return kin_reader_add(made, shard, parents);
}

#define WINDOW_POOL "stepped.window_pool"

/* stepped.window_pool(bytes) -> the window that several readers share */
int stepped_window_pool(lua_State *L) {
  kin_window_pool **held = lua_newuserdatauv(L, sizeof *held, 0);
  *held = kin_window_pool_create((size_t)luaL_checkinteger(L, 1));
  luaL_getmetatable(L, WINDOW_POOL);
  lua_setmetatable(L, -2);
  return *held ? 1 : luaL_error(L, "out of memory");
}

static int release_window_pool(lua_State *L) {
  kin_window_pool_release(*(kin_window_pool **)luaL_checkudata(L, 1, WINDOW_POOL));
  return 0;
}

void stepped_window_pool_open(lua_State *L) {
  luaL_newmetatable(L, WINDOW_POOL);
  lua_pushcfunction(L, release_window_pool);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
}

static kin_window_pool *window_pool(lua_State *L, int table) {
  lua_getfield(L, table, "window_pool");
  kin_window_pool **held = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return held ? *held : NULL;
}

/* engine:reader{shards={…}, stream="s", poll_interval=1, window=16 MiB, stop_at_tip=, until=,
 * follow=, page_limit=, window_pool=, report_starts=} -> id, metrics; see stepped_metrics.c */
int stepped_reader(lua_State *L) {
  kin_engine *engine = stepped_engine(L);
  uint64_t id = kin_engine_id();
  luaL_checktype(L, 2, LUA_TTABLE);
  kin_slice stream = stepped_text(L, 2, "stream");
  kin_reader_options options = {
      .stream = stream.at ? stream : KIN_SLICE("s"),
      .poll_interval = stepped_time(stepped_number(L, 2, "poll_interval", 1)),
      .window_bytes = (size_t)stepped_number(L, 2, "window", 16 << 20),
      .stop_at_tip = stepped_boolean(L, 2, "stop_at_tip"),
      .until = stepped_number(L, 2, "until", 0),
      .follow = stepped_boolean(L, 2, "follow"),
      .page_limit = (unsigned)stepped_number(L, 2, "page_limit", 0),
      .window_pool = window_pool(L, 2),
      .report_starts = stepped_boolean(L, 2, "report_starts"),
  };
  lua_settop(L, 2);
  lua_getfield(L, 2, "shards");
  luaL_checktype(L, -1, LUA_TTABLE);
  kin_reader *made = kin_reader_create(engine, id, &options);
  if (!made)
    return luaL_error(L, "out of memory");
  for (int i = 1, count = (int)lua_rawlen(L, 3); i <= count; i++) {
    lua_rawgeti(L, 3, i);
    if (!add_shard(L, made)) {
      kin_reader_free(made);
      return luaL_error(L, "out of memory");
    }
    lua_pop(L, 1);
  }
  stepped_metrics_push(L, kin_reader_metrics_of(made));
  if (!kin_reader_start(engine, made))
    return posted(L, false, id);
  push_id(L, id);
  lua_insert(L, -2);
  return 2;
}

/* engine:command(id, number, {whole="pause"|"resume"|"everything", {id=, command=, ended=, and a
 * position}, …}) -> id: to a reader */
int stepped_command(lua_State *L) {
  static const char *const kinds[] = {"pause", "resume", "seek"};
  kin_engine *engine = stepped_engine(L);
  uint64_t id = (uint64_t)luaL_checkinteger(L, 2);
  luaL_checktype(L, 4, LUA_TTABLE);
  size_t count = lua_rawlen(L, 4);
  kin_command_message *made = kin_command_create(id, (unsigned)luaL_checkinteger(L, 3), count);
  if (!made)
    return luaL_error(L, "out of memory");
  kin_slice whole = stepped_text(L, 4, "whole");
  made->everything = whole.at && kin_slice_is(whole, "everything");
  made->whole = !whole.at                      ? KIN_WHOLE_KEEP
                : kin_slice_is(whole, "pause") ? KIN_WHOLE_PAUSE
                                               : KIN_WHOLE_RESUME;
  for (int i = 1; i <= (int)count; i++) {
    lua_rawgeti(L, 4, i);
    int table = lua_gettop(L), kind = 0;
    while (!kin_slice_is(stepped_text(L, table, "command"), kinds[kind]))
      kind++;
    kin_shard_command *each =
        kin_command_add(made, stepped_text(L, table, "id"), (kin_command_kind)kind);
    each->to_end = read_from(L, table, &each->from);
    each->ended = stepped_boolean(L, table, "ended");
    lua_pop(L, 1);
  }
  return posted(L, kin_engine_post(engine, &made->message), id);
}

/* lineage_visits(n) -> how many nodes and links are looked at to read n closed shards, each with an
 * open child, which are added before their parents */
int stepped_lineage_visits(lua_State *L) {
  int n = (int)luaL_checkinteger(L, 1);
  kin_lineage lineage;
  kin_lineage_node *nodes = __real_calloc((size_t)(2 * n), sizeof *nodes), *node;
  if (!nodes)
    return luaL_error(L, "out of memory");
  kin_lineage_init(&lineage);
  for (int i = 0; i < 2 * n; i++) {
    char parent[32] = "";
    node = &nodes[i];
    snprintf(node->id, sizeof node->id, "shardId-%012d", 2 * n - i);
    if (i < n)
      snprintf(parent, sizeof parent, "shardId-%012d", n - i);
    kin_slice parents[2] = {kin_slice_of(parent)};
    if (!kin_lineage_add(&lineage, node, parents))
      return luaL_error(L, "out of memory");
  }
  kin_lineage_link(&lineage);
  kin_lineage_break_circles(&lineage, NULL, NULL);
  int read = 0;
  for (; (node = kin_lineage_take_ready(&lineage)); read++) {
    node->state = KIN_SHARD_DONE;
    kin_lineage_done(&lineage, node);
  }
  lua_pushinteger(L, (lua_Integer)lineage.visits);
  lua_pushinteger(L, read);
  kin_lineage_free(&lineage);
  free(nodes);
  return 2;
}

/* ---- put_many ---- */

/* engine:put_many(stream, {{data=, partition_key=, explicit_hash_key=}, …}) -> id, number of
 * records taken */
int stepped_put_many(lua_State *L) {
  kin_engine *engine = stepped_engine(L);
  uint64_t id = kin_engine_id();
  kin_put_many *chunk = kin_put_many_create(kin_slice_of(luaL_checkstring(L, 2)));
  if (!chunk || lua_type(L, 3) != LUA_TTABLE)
    return luaL_error(L, "a list is expected, or out of memory");
  int count = (int)lua_rawlen(L, 3), i = 1;
  for (; i <= count; i++) {
    lua_rawgeti(L, 3, i);
    kin_put put = {stepped_text(L, 4, "data"), stepped_text(L, 4, "partition_key"),
                   stepped_text(L, 4, "explicit_hash_key")};
    lua_pop(L, 1);
    if (!kin_put_many_add(chunk, &put))
      break;
  }
  int returned = posted(L, kin_put_many_start(engine, chunk, id), id);
  if (returned == 2)
    return 2;
  lua_pushinteger(L, i - 1);
  return 2;
}
