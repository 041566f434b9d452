/* stepped: an engine without a thread, for specs. The clock stands still until Lua moves it, and
 * the transport keeps what was sent until Lua answers it. Linked with the product's rooms, not
 * loaded by the product.
 *
 *   local engine = require("stepped").new { max_attempts = 3, max_connections = 24 }
 *   engine:keys("AKID", "secret")
 *   local id = engine:call("ListStreams", "{}")
 *   engine:step()                                       -- seconds until the next deadline, or nil
 *   engine:answer(engine:requests()[1], { status = 200, body = "{}" })
 *   engine:step()
 *   engine:told()[1].body                               -- "{}" */
#include "stepped.h"

#include <stdio.h>
#include <stdlib.h>

#include "consumer/reader.h"
#include "engine/internal.h"
#include "producer/put_many.h"
#include "torture.h"

#define STEPPED "stepped.engine"

enum { DICE_MAX = 64, ROUNDS_MAX = 10000 };

/* An exchange that was started and has not come out. */
typedef struct request {
  kin_exchange *exchange;
  lua_Integer id;
  kin_time at, wall; /* when it was started */
  bool over;         /* answered: comes out of `finished` */
  struct request *next;
} request;

typedef struct stepped {
  kin_transport transport; /* first */
  kin_engine *engine;      /* counted; NULL once closed */
  kin_time now, wall;
  double randoms[DICE_MAX], usual; /* what random() gives: first these, then `usual` */
  int random_count, randoms_given;
  request *requests; /* in the order of their start */
  lua_Integer started, cancelled, most, in_flight;
  bool destroyed;            /* the engine has destroyed its transport */
  kin_message_list arrived;  /* taken from the outbox, not yet told */
  kin_message_list withheld; /* pages that Lua has not given back */
} stepped;

/* ---- the clock ---- */

static stepped *of_clock(kin_clock *clock) {
  return (stepped *)(uintptr_t)clock->seed;
}

static kin_time fake_monotonic(kin_clock *clock) {
  return of_clock(clock)->now;
}

static kin_time fake_wall(kin_clock *clock) {
  return of_clock(clock)->wall;
}

static double fake_random(kin_clock *clock) {
  stepped *self = of_clock(clock);
  return self->randoms_given < self->random_count ? self->randoms[self->randoms_given++]
                                                  : self->usual;
}

static double in_seconds(kin_time time) {
  return (double)time / (double)KIN_SECOND;
}

/* Also of negative seconds. */
static kin_time of_seconds(double seconds) {
  return (kin_time)(seconds * (double)KIN_SECOND + (seconds < 0 ? -0.5 : 0.5));
}

/* ---- the transport ---- */

static void fake_start(kin_transport *transport, kin_exchange *exchange) {
  stepped *self = (stepped *)transport;
  request *started = __real_calloc(1, sizeof *started);
  if (!started)
    abort();
  *started = (request){exchange, ++self->started, self->now, self->wall, false, NULL};
  kin_buf_clear(&exchange->answer);
  exchange->failed = KIN_OK;
  exchange->timed_out = exchange->too_large = exchange->unsent = exchange->aged = false;
  exchange->status = 0;
  exchange->date[0] = exchange->error_type[0] = exchange->request_id[0] = '\0';
  exchange->retry_after[0] = exchange->trouble[0] = '\0';
  request **link = &self->requests;
  while (*link)
    link = &(*link)->next;
  *link = started;
  if (++self->in_flight > self->most)
    self->most = self->in_flight;
}

static kin_exchange *take_out(stepped *self, request **link) {
  request *old = *link;
  kin_exchange *exchange = old->exchange;
  *link = old->next;
  free(old);
  self->in_flight--;
  return exchange;
}

static void fake_cancel(kin_transport *transport, kin_exchange *exchange) {
  stepped *self = (stepped *)transport;
  for (request **link = &self->requests; *link; link = &(*link)->next) {
    if ((*link)->exchange != exchange)
      continue;
    take_out(self, link);
    self->cancelled++;
    return;
  }
  abort(); /* the engine cancelled what was not under way */
}

static kin_exchange *fake_finished(kin_transport *transport) {
  stepped *self = (stepped *)transport;
  for (request **link = &self->requests; *link; link = &(*link)->next)
    if ((*link)->over)
      return take_out(self, link);
  return NULL;
}

static void fake_wait(kin_transport *transport, kin_watch *watches, size_t count, kin_time most) {
  (void)transport, (void)watches, (void)count, (void)most;
  abort(); /* only the thread waits */
}

static void fake_destroy(kin_transport *transport) {
  ((stepped *)transport)->destroyed = true;
}

/* ---- arguments ---- */

static stepped *check_stepped(lua_State *L) {
  return luaL_checkudata(L, 1, STEPPED);
}

static stepped *check_open(lua_State *L) {
  stepped *self = check_stepped(L);
  if (!self->engine)
    luaL_error(L, "the engine was closed");
  return self;
}

kin_engine *stepped_engine(lua_State *L) {
  return check_open(L)->engine;
}

lua_Number stepped_number(lua_State *L, int table, const char *field, lua_Number otherwise) {
  lua_getfield(L, table, field);
  lua_Number number = lua_isnil(L, -1) ? otherwise : luaL_checknumber(L, -1);
  lua_pop(L, 1);
  return number;
}

bool stepped_boolean(lua_State *L, int table, const char *field) {
  lua_getfield(L, table, field);
  bool is = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return is;
}

kin_slice stepped_text(lua_State *L, int table, const char *field) {
  kin_slice text = {0};
  lua_getfield(L, table, field);
  if (!lua_isnil(L, -1))
    text.at = luaL_checklstring(L, -1, &text.len);
  lua_pop(L, 1);
  return text;
}

void stepped_set_text(lua_State *L, const char *field, kin_slice text) {
  if (!text.at)
    return;
  lua_pushlstring(L, text.at, text.len);
  lua_setfield(L, -2, field);
}

static void set_number(lua_State *L, const char *field, double number) {
  lua_pushnumber(L, number);
  lua_setfield(L, -2, field);
}

static void set_integer(lua_State *L, const char *field, lua_Integer number) {
  lua_pushinteger(L, number);
  lua_setfield(L, -2, field);
}

static void set_boolean(lua_State *L, const char *field, bool is) {
  lua_pushboolean(L, is);
  lua_setfield(L, -2, field);
}

static int push_id(lua_State *L, uint64_t id) {
  lua_pushinteger(L, (lua_Integer)id);
  return 1;
}

/* ---- life ---- */

static int close_stepped(lua_State *L) {
  stepped *self = check_stepped(L);
  kin_engine *engine = self->engine;
  if (!engine)
    return 0;
  self->engine = NULL;
  kin_engine_stop(engine);
  kin_message_list_free(&self->arrived);
  kin_message_list_free(&self->withheld);
  kin_engine_release(engine);
  return 0;
}

/* stepped.new{max_attempts=, max_connections=, request_timeout=, connect_timeout=} */
static int new_stepped(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  kin_engine_options options = {
      .endpoint = {.service = &kin_service_kinesis,
                   .region = "us-east-1",
                   .url = "https://kinesis.test/",
                   .host = "kinesis.test",
                   .path = "/"},
      .connect_timeout = of_seconds(stepped_number(L, 1, "connect_timeout", 3)),
      .request_timeout = of_seconds(stepped_number(L, 1, "request_timeout", 20)),
      .call_timeout = kin_seconds(stepped_number(L, 1, "call_timeout", 1e15)),
      .max_attempts = (unsigned)stepped_number(L, 1, "max_attempts", 3),
      .max_connections = (int)stepped_number(L, 1, "max_connections", 24),
  };
  stepped *self = lua_newuserdatauv(L, sizeof *self, 0);
  *self = (stepped){
      .transport = {fake_start, fake_cancel, fake_finished, fake_wait, fake_destroy},
      .now = 1000 * KIN_SECOND,
      .wall = 1767225600 * KIN_SECOND, /* 2026-01-01 */
      .usual = 0.5,
  };
  kin_message_list_init(&self->arrived);
  kin_message_list_init(&self->withheld);
  luaL_getmetatable(L, STEPPED);
  lua_setmetatable(L, -2);
  kin_clock clock = {.monotonic = fake_monotonic,
                     .coarse = fake_monotonic,
                     .wall = fake_wall,
                     .random = fake_random,
                     .seed = (uint64_t)(uintptr_t)self};
  self->engine = kin_engine_create(&options, &clock, &self->transport);
  return self->engine ? 1 : luaL_error(L, "no engine: out of memory");
}

/* engine:stop(): as a client does when it is closed; what was told can still be read */
static int stop(lua_State *L) {
  kin_engine_stop(check_open(L)->engine);
  return 0;
}

/* ---- time ---- */

static int advance(lua_State *L) {
  stepped *self = check_stepped(L);
  kin_time by = of_seconds(luaL_checknumber(L, 2));
  self->now += by;
  self->wall += by;
  return 0;
}

/* engine:now() -> monotonic, wall; both in seconds */
static int now(lua_State *L) {
  stepped *self = check_stepped(L);
  lua_pushnumber(L, in_seconds(self->now));
  lua_pushnumber(L, in_seconds(self->wall));
  return 2;
}

/* engine:set_wall(seconds since 1970) */
static int set_wall(lua_State *L) {
  check_stepped(L)->wall = of_seconds(luaL_checknumber(L, 2));
  return 0;
}

/* engine:randoms(usual, first, second, …): what random() gives, first the later ones once each */
static int randoms(lua_State *L) {
  stepped *self = check_stepped(L);
  int top = lua_gettop(L);
  luaL_argcheck(L, top - 2 <= DICE_MAX, 3, "too many");
  self->usual = luaL_checknumber(L, 2);
  self->randoms_given = self->random_count = 0;
  for (int i = 3; i <= top; i++)
    self->randoms[self->random_count++] = luaL_checknumber(L, i);
  return 0;
}

/* What the engine's thread would do before it sleeps: until nothing is due and nothing was posted
 * meanwhile. */
static kin_time step_all(lua_State *L, stepped *self) {
  for (int round = 0; round < ROUNDS_MAX; round++) {
    kin_time due = kin_engine_step(self->engine);
    if (due > self->now && kin_mailbox_sleep(&self->engine->shared.inbox))
      return due;
  }
  return luaL_error(L, "the engine spins: it never came to rest");
}

/* engine:step() -> seconds until the next deadline, or nil */
static int step(lua_State *L) {
  stepped *self = check_open(L);
  kin_time due = step_all(L, self);
  if (due == KIN_NEVER)
    return 0;
  lua_pushnumber(L, in_seconds(due - self->now));
  return 1;
}

/* engine:run(seconds): steps, and moves the clock from deadline to deadline */
static int run(lua_State *L) {
  stepped *self = check_open(L);
  kin_time end = self->now + of_seconds(luaL_checknumber(L, 2));
  for (;;) {
    kin_time due = step_all(L, self);
    kin_time next = due < end ? due : end;
    self->wall += next - self->now;
    self->now = next;
    if (due > end)
      return 0;
  }
}

/* ---- what is in flight ---- */

static void push_headers(lua_State *L, const kin_exchange *exchange) {
  lua_newtable(L);
  for (size_t i = 0; i < exchange->header_count; i++) {
    const char *line = exchange->headers[i], *colon = strchr(line, ':');
    lua_pushlstring(L, line, (size_t)(colon - line));
    lua_pushstring(L, colon + 1 + (colon[1] == ' '));
    lua_rawset(L, -3);
  }
  lua_getfield(L, -1, "x-amz-target");
  const char *target = lua_tostring(L, -1), *point = target ? strchr(target, '.') : NULL;
  if (point) {
    lua_pushstring(L, point + 1);
    lua_setfield(L, -4, "operation");
  }
  lua_pop(L, 1);
}

/* engine:requests() -> list of {id=, operation=, url=, headers=, body=, at=, wall=, timeout=,
 * connect_timeout=}, in the order in which they were started */
static int requests(lua_State *L) {
  stepped *self = check_stepped(L);
  int count = 0;
  lua_newtable(L);
  for (const request *one = self->requests; one; one = one->next) {
    const kin_exchange *exchange = one->exchange;
    if (one->over)
      continue;
    lua_createtable(L, 0, 8);
    set_integer(L, "id", one->id);
    stepped_set_text(L, "url", kin_slice_of(exchange->url));
    stepped_set_text(L, "body", exchange->body);
    set_number(L, "at", in_seconds(one->at));
    set_number(L, "wall", in_seconds(one->wall));
    set_number(L, "timeout", in_seconds(exchange->timeout));
    set_number(L, "connect_timeout", in_seconds(exchange->connect_timeout));
    push_headers(L, exchange);
    lua_setfield(L, -2, "headers");
    lua_rawseti(L, -2, ++count);
  }
  return 1;
}

/* The exchange of a request that is still in flight; from now on it is over. */
static kin_exchange *check_request(lua_State *L, stepped *self) {
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_Integer id = (lua_Integer)stepped_number(L, 2, "id", 0);
  for (request *one = self->requests; one; one = one->next) {
    if (one->id != id || one->over)
      continue;
    one->over = true;
    return one->exchange;
  }
  luaL_error(L, "request %d is not in flight", (int)id);
  return NULL;
}

static void copy_field(lua_State *L, const char *field, char *out, size_t room) {
  kin_slice_copy(stepped_text(L, 3, field), out, room);
}

/* engine:answer(request, {status=200, body="", date=, age=, error_type=, request_id=,
 * retry_after=}) */
static int answer(lua_State *L) {
  stepped *self = check_open(L);
  luaL_checktype(L, 3, LUA_TTABLE);
  kin_slice body = stepped_text(L, 3, "body");
  int status = (int)stepped_number(L, 3, "status", 200);
  bool aged = stepped_boolean(L, 3, "age");
  kin_exchange *exchange = check_request(L, self);
  exchange->status = status;
  exchange->aged = aged;
  kin_buf_reserve(&exchange->answer, body.len + 1); /* as the http room does, by Content-Length */
  kin_buf_add_slice(&exchange->answer, body);
  copy_field(L, "date", exchange->date, sizeof exchange->date);
  copy_field(L, "error_type", exchange->error_type, sizeof exchange->error_type);
  copy_field(L, "request_id", exchange->request_id, sizeof exchange->request_id);
  copy_field(L, "retry_after", exchange->retry_after, sizeof exchange->retry_after);
  return 0;
}

/* engine:fail(request, {timed_out=, too_large=, unsent=, fatal=, trouble="…"}): no answer came */
static int fail(lua_State *L) {
  stepped *self = check_open(L);
  luaL_checktype(L, 3, LUA_TTABLE);
  kin_exchange *exchange = check_request(L, self);
  exchange->failed = stepped_boolean(L, 3, "fatal") ? KIN_FATAL : KIN_TRANSIENT;
  exchange->timed_out = stepped_boolean(L, 3, "timed_out");
  exchange->too_large = stepped_boolean(L, 3, "too_large");
  exchange->unsent = stepped_boolean(L, 3, "unsent");
  copy_field(L, "trouble", exchange->trouble, sizeof exchange->trouble);
  return 0;
}

/* engine:counts() -> {started=, cancelled=, in_flight=, most=, destroyed=, quota=, skew=} */
static int counts(lua_State *L) {
  stepped *self = check_stepped(L);
  lua_createtable(L, 0, 8);
  set_integer(L, "started", self->started);
  set_integer(L, "cancelled", self->cancelled);
  set_integer(L, "in_flight", self->in_flight);
  set_integer(L, "most", self->most);
  set_boolean(L, "destroyed", self->destroyed);
  if (self->engine) {
    set_integer(L, "quota", self->engine->engine_only.retry.quota);
    set_number(L, "skew", in_seconds(self->engine->engine_only.retry.skew));
  }
  return 1;
}

/* ---- words to the engine ---- */

static int posted(lua_State *L, bool taken, uint64_t id) {
  if (taken)
    return push_id(L, id);
  lua_pushnil(L);
  lua_pushliteral(L, "the engine was stopped");
  return 2;
}

/* A target in another service and region, for options.service. */
static const kin_target *other_target(lua_State *L, kin_engine *engine) {
  static const kin_service other = {"dynamodb", "DynamoDB_20120810.", "application/x-amz-json-1.0"};
  const kin_endpoint endpoint = {&other, "eu-west-1", "https://dynamodb.test/", "dynamodb.test",
                                 "/"};
  kin_slice service = stepped_text(L, 4, "service");
  if (!service.at)
    return NULL;
  if (!kin_slice_is(service, other.name))
    luaL_error(L, "no such service");
  const kin_target *target = kin_engine_target(engine, &endpoint);
  return target ? target : (luaL_error(L, "out of memory"), NULL);
}

/* engine:call(operation, body [, {max_attempts=, deadline=seconds from now, service="dynamodb"}])
 * -> id */
static int call(lua_State *L) {
  stepped *self = check_open(L);
  size_t len;
  const char *operation = luaL_checkstring(L, 2), *body = luaL_checklstring(L, 3, &len);
  lua_settop(L, 4);
  if (lua_isnil(L, 4)) {
    lua_newtable(L);
    lua_replace(L, 4);
  }
  luaL_checktype(L, 4, LUA_TTABLE);
  double attempts = stepped_number(L, 4, "max_attempts", kin_engine_max_attempts(self->engine));
  double deadline = stepped_number(L, 4, "deadline", -1);
  const kin_target *target = other_target(L, self->engine);
  kin_call *made = kin_call_create(operation, (unsigned)attempts);
  if (!made)
    return luaL_error(L, "out of memory");
  uint64_t id = made->request.message.owner = kin_engine_id();
  made->target = target;
  if (deadline >= 0)
    made->request.deadline = self->now + of_seconds(deadline);
  kin_buf_add(&made->request.body, body, len);
  if (made->request.body.failed) {
    kin_message_free(&made->request.message);
    return luaL_error(L, "out of memory");
  }
  return posted(L, kin_engine_post(self->engine, &made->request.message), id);
}

/* engine:cancel(id): a call, or a chunk of put_many; as a ticket does that nobody waits for */
static int cancel(lua_State *L) {
  stepped *self = check_open(L);
  uint64_t id = (uint64_t)luaL_checkinteger(L, 2);
  kin_engine_post_plain(self->engine, KIN_MESSAGE_CANCEL, id);
  kin_engine_post_plain(self->engine, KIN_MESSAGE_REMOVE, id);
  return 0;
}

/* engine:keys(access_key_id, secret_access_key [, session_token [, expires]]) */
static int keys(lua_State *L) {
  stepped *self = check_open(L);
  kin_credentials given = {luaL_checkstring(L, 2), luaL_checkstring(L, 3),
                           luaL_optstring(L, 4, NULL)};
  kin_time expires = lua_isnoneornil(L, 5) ? KIN_NEVER : of_seconds(luaL_checknumber(L, 5));
  kin_credentials_message *message = kin_credentials_message_create(&given, expires);
  if (!message)
    return luaL_error(L, "out of memory");
  return posted(L, kin_engine_post(self->engine, &message->message), 0);
}

static int keys_failed(lua_State *L) {
  stepped *self = check_open(L);
  const char *why = luaL_checkstring(L, 2);
  kin_credentials_message *message = kin_credentials_message_create(NULL, KIN_NEVER);
  if (!message)
    return luaL_error(L, "out of memory");
  kin_error_set(&message->error, KIN_FATAL, KIN_CODE_NO_CREDENTIALS, "%s", why);
  return posted(L, kin_engine_post(self->engine, &message->message), 0);
}

/* ---- readers ---- */

/* {id=, kind=, sequence_number=, timestamp=, parent_id=, adjacent_parent_id=} on the top */
static kin_shard *make_shard(lua_State *L) {
  static const char *const kinds[] = {
      "TRIM_HORIZON", "LATEST", "AT_TIMESTAMP", "AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER",
      "SHARD_END",    NULL};
  int table = lua_gettop(L), which = 0;
  luaL_checktype(L, table, LUA_TTABLE);
  kin_slice id = stepped_text(L, table, "id"), kind = stepped_text(L, table, "kind");
  while (kind.at && kinds[which] && !kin_slice_is(kind, kinds[which]))
    which++;
  if (!id.at || !kinds[which])
    luaL_error(L, "a shard without id, or of no known kind");
  kin_from from = {.kind = which <= KIN_FROM_AFTER ? (kin_from_kind)which : KIN_FROM_TRIM_HORIZON,
                   .timestamp = stepped_number(L, table, "timestamp", 0)};
  kin_slice_copy(stepped_text(L, table, "sequence_number"), from.sequence_number,
                 sizeof from.sequence_number);
  kin_slice parent = stepped_text(L, table, "parent_id");
  kin_slice adjacent = stepped_text(L, table, "adjacent_parent_id");
  kin_shard *shard = kin_shard_create(id, &from);
  if (!shard)
    return NULL;
  if (which > KIN_FROM_AFTER)
    shard->state = KIN_SHARD_DONE;
  kin_slice_copy(parent, shard->parents[0], sizeof shard->parents[0]);
  kin_slice_copy(adjacent, shard->parents[1], sizeof shard->parents[1]);
  return shard;
}

/* engine:reader{shards={…}, stream="s", poll_interval=1, window=16 MiB, stop_at_tip=, follow=}
 * -> id */
static int reader(lua_State *L) {
  stepped *self = check_open(L);
  uint64_t id = kin_engine_id();
  luaL_checktype(L, 2, LUA_TTABLE);
  kin_slice stream = stepped_text(L, 2, "stream");
  kin_reader_options options = {
      .stream = stream.at ? stream : KIN_SLICE("s"),
      .poll_interval = of_seconds(stepped_number(L, 2, "poll_interval", 1)),
      .window_bytes = (size_t)stepped_number(L, 2, "window", 16 << 20),
      .stop_at_tip = stepped_boolean(L, 2, "stop_at_tip"),
      .follow = stepped_boolean(L, 2, "follow"),
  };
  lua_getfield(L, 2, "shards");
  luaL_checktype(L, -1, LUA_TTABLE);
  kin_reader *made = kin_reader_create(self->engine, id, &options);
  if (!made)
    return luaL_error(L, "out of memory");
  for (int i = (int)lua_rawlen(L, 3); i > 0; i--) { /* they are kept last first */
    lua_rawgeti(L, 3, i);
    kin_shard *shard = make_shard(L);
    if (!shard || !kin_reader_add(made, shard)) {
      if (shard)
        kin_shard_free(shard);
      kin_reader_free(made);
      return luaL_error(L, "out of memory");
    }
    lua_pop(L, 1);
  }
  return posted(L, kin_reader_start(self->engine, made), id);
}

/* engine:start_shard(reader, shard): a child that no answer named */
static int start_shard(lua_State *L) {
  stepped *self = check_open(L);
  uint64_t id = (uint64_t)luaL_checkinteger(L, 2);
  lua_settop(L, 3);
  kin_shard *shard = make_shard(L);
  kin_start_shard *message = shard ? kin_start_shard_create(shard, id) : NULL;
  if (!message) {
    if (shard)
      kin_shard_free(shard);
    return luaL_error(L, "out of memory");
  }
  return posted(L, kin_engine_post(self->engine, &message->message), id);
}

/* engine:give_back([count]) -> how many pages: Lua is through with the oldest ones */
static int give_back(lua_State *L) {
  stepped *self = check_open(L);
  lua_Integer most = luaL_optinteger(L, 2, INT32_MAX), given = 0;
  kin_message *page;
  while (given < most && (page = kin_message_list_take(&self->withheld))) {
    kin_message_free(page);
    given++;
  }
  lua_pushinteger(L, given);
  return 1;
}

/* ---- put_many ---- */

/* engine:put_many(stream, {{data=, partition_key=, explicit_hash_key=}, …}) -> id, how many the
 * chunk took */
static int put_many(lua_State *L) {
  stepped *self = check_open(L);
  uint64_t id = kin_engine_id();
  kin_put_many *chunk = kin_put_many_create(kin_slice_of(luaL_checkstring(L, 2)));
  if (!chunk || lua_type(L, 3) != LUA_TTABLE)
    return luaL_error(L, "a list, please, and memory");
  int count = (int)lua_rawlen(L, 3), i = 1;
  for (; i <= count; i++) {
    lua_rawgeti(L, 3, i);
    kin_put put = {stepped_text(L, 4, "data"), stepped_text(L, 4, "partition_key"),
                   stepped_text(L, 4, "explicit_hash_key")};
    lua_pop(L, 1);
    if (!kin_put_many_add(chunk, &put))
      break;
  }
  int returned = posted(L, kin_put_many_start(self->engine, chunk, id), id);
  if (returned == 2)
    return 2;
  lua_pushinteger(L, i - 1);
  return 2;
}

/* ---- what was told ---- */

static void set_failure(lua_State *L, const kin_error *error) {
  static const char *const classes[] = {"fine", "passing", "throttled", "fatal"};
  if (error->class == KIN_OK)
    return;
  lua_createtable(L, 0, 6);
  stepped_set_text(L, "class", kin_slice_of(classes[error->class]));
  stepped_set_text(L, "code", kin_slice_of(error->code));
  stepped_set_text(L, "message", kin_slice_of(error->message));
  stepped_set_text(L, "operation", kin_slice_of(error->operation));
  stepped_set_text(L, "request_id", kin_slice_of(error->request_id));
  set_integer(L, "status", error->status);
  lua_setfield(L, -2, "failure");
}

static void set_answer(lua_State *L, const kin_call *over) {
  set_failure(L, &over->request.error);
  set_integer(L, "attempts", over->attempt);
  if (over->request.error.class == KIN_OK)
    stepped_set_text(L, "body", kin_buf_slice(&over->request.exchange.answer));
}

static void set_results(lua_State *L, const kin_put_many *chunk) {
  if (chunk->encryption_type.len > 0)
    stepped_set_text(L, "encryption_type", chunk->encryption_type);
  lua_newtable(L);
  for (size_t i = 0; i < chunk->count; i++) {
    const kin_put_result *result = &chunk->results[i];
    lua_createtable(L, 0, 5);
    stepped_set_text(L, "shard_id", result->shard_id);
    stepped_set_text(L, "sequence_number", result->sequence_number);
    stepped_set_text(L, "code", result->code);
    stepped_set_text(L, "message", result->message);
    set_integer(L, "attempts", chunk->entries[i].attempts);
    lua_rawseti(L, -2, (int)i + 1);
  }
  lua_setfield(L, -2, "results");
}

static void set_page(lua_State *L, const kin_page_message *told) {
  stepped_set_text(L, "shard_id", kin_slice_of(told->shard_id));
  set_integer(L, "bytes", (lua_Integer)told->bytes);
  lua_newtable(L);
  for (size_t i = 0; i < told->page.record_count; i++) {
    const kin_record *record = &told->page.records[i];
    lua_createtable(L, 0, 4);
    stepped_set_text(L, "data", record->data);
    stepped_set_text(L, "partition_key", record->partition_key);
    stepped_set_text(L, "sequence_number", record->sequence_number);
    set_number(L, "arrival_timestamp", record->arrival_timestamp);
    lua_rawseti(L, -2, (int)i + 1);
  }
  lua_setfield(L, -2, "records");
}

static void set_shard_end(lua_State *L, const kin_shard_end_message *told) {
  stepped_set_text(L, "shard_id", kin_slice_of(told->shard_id));
  set_boolean(L, "closed", told->closed);
  set_boolean(L, "names_children", told->names_children);
  set_integer(L, "alive", (lua_Integer)told->alive);
}

static void set_trouble(lua_State *L, const kin_trouble_message *told) {
  stepped_set_text(L, "shard_id", kin_slice_of(told->shard_id));
  set_failure(L, &told->error);
  set_integer(L, "in_a_row", told->in_a_row);
  set_boolean(L, "fatal", told->fatal);
}

static void push_message(lua_State *L, kin_message *message) {
  static const char *const kinds[] = {
      [KIN_MESSAGE_ANSWER] = "answer",
      [KIN_MESSAGE_CREDENTIALS_WANTED] = "credentials_wanted",
      [KIN_MESSAGE_PUT_MANY_DONE] = "settled",
      [KIN_MESSAGE_READY] = "ready",
      [KIN_MESSAGE_PAGE] = "page",
      [KIN_MESSAGE_SHARD_END] = "shard_end",
      [KIN_MESSAGE_TROUBLE] = "trouble",
      [KIN_MESSAGE_COMPLETED] = "settled_records",
  };
  lua_createtable(L, 0, 8);
  stepped_set_text(L, "kind", kin_slice_of(kinds[message->kind]));
  set_integer(L, "owner", (lua_Integer)message->owner);
  if (message->kind == KIN_MESSAGE_ANSWER)
    set_answer(L, (kin_call *)message);
  else if (message->kind == KIN_MESSAGE_PUT_MANY_DONE)
    set_results(L, (kin_put_many *)message);
  else if (message->kind == KIN_MESSAGE_READY)
    set_number(L, "start", ((kin_ready_message *)message)->start);
  else if (message->kind == KIN_MESSAGE_PAGE)
    set_page(L, (kin_page_message *)message);
  else if (message->kind == KIN_MESSAGE_SHARD_END)
    set_shard_end(L, (kin_shard_end_message *)message);
  else if (message->kind == KIN_MESSAGE_TROUBLE)
    set_trouble(L, (kin_trouble_message *)message);
}

/* engine:told() -> list of {kind=, owner=, …}, and forgets them; pages stay until give_back */
static int told(lua_State *L) {
  stepped *self = check_open(L);
  int count = 0;
  lua_newtable(L);
  kin_mailbox_take_all(kin_engine_outbox(self->engine), &self->arrived);
  while (self->arrived.first) {
    push_message(L, self->arrived.first);
    lua_rawseti(L, -2, ++count);
    kin_message *message = kin_message_list_take(&self->arrived);
    if (message->kind == KIN_MESSAGE_PAGE)
      kin_message_list_add(&self->withheld, message);
    else
      kin_message_free(message);
  }
  return 1;
}

__attribute__((visibility("default"))) int luaopen_stepped(lua_State *L);

int luaopen_stepped(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"advance", advance},
      {"answer", answer},
      {"call", call},
      {"cancel", cancel},
      {"close", close_stepped},
      {"counts", counts},
      {"randoms", randoms},
      {"fail", fail},
      {"give_back", give_back},
      {"keys", keys},
      {"keys_failed", keys_failed},
      {"now", now},
      {"producer", stepped_producer},
      {"put_many", put_many},
      {"reader", reader},
      {"requests", requests},
      {"run", run},
      {"set_wall", set_wall},
      {"start_shard", start_shard},
      {"step", step},
      {"stop", stop},
      {"told", told},
      {"__gc", close_stepped},
      {NULL, NULL},
  };
  stepped_producer_open(L);
  luaL_newmetatable(L, STEPPED);
  for (const luaL_Reg *method = methods; method->name; method++) {
    lua_pushcfunction(L, method->func);
    lua_setfield(L, -2, method->name);
  }
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_newtable(L);
  lua_pushcfunction(L, new_stepped);
  lua_setfield(L, -2, "new");
  return 1;
}
