/* stepped: an engine without a thread, for specs. The clock stands still until Lua advances it; the
 * transport keeps requests until Lua answers them. Commands to the engine are in
 * stepped_commands.c, its messages in stepped_messages.c. Linked with the product's C modules
 * except those of Lua; the product does not load it.
 *
 *   local engine = require("stepped").new { max_attempts = 3, max_connections = 24 }
 *   engine:credentials("AKID", "secret")
 *   local id = engine:call("ListStreams", "{}")
 *   engine:step()                                       -- seconds until the next deadline, or nil
 *   engine:answer(engine:requests()[1], { status = 200, body = "{}" })
 *   engine:step()
 *   engine:messages()[1].body                           -- "{}" */
#include "stepped.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/internal.h"
#include "torture.h"

#define STEPPED "stepped.engine"

enum { RANDOMS_MAX = 64, ROUNDS_MAX = 10000 };

/* An exchange that was started and not returned by `finished`. */
typedef struct request {
  kin_exchange *exchange;
  lua_Integer id;
  kin_time at, wall; /* when it was started */
  bool over;         /* answered: `finished` returns it next */
  char *rest;        /* allocated: the body, while the exchange is paused */
  size_t rest_len;
  struct request *next;
} request;

typedef struct stepped {
  kin_transport transport; /* first */
  kin_engine *engine;      /* counted; NULL once closed */
  kin_time now, wall;
  kin_time slept;                     /* while the machine slept, which `now` does not count */
  double randoms[RANDOMS_MAX], usual; /* the values of random(): these, then `usual` */
  int random_count, randoms_given;
  request *requests; /* in the order of their start */
  lua_Integer started, cancelled, most, in_flight;
  bool destroyed; /* the engine has destroyed its transport */
  stepped_inbox inbox;
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

static kin_time fake_boottime(kin_clock *clock) {
  return of_clock(clock)->now + of_clock(clock)->slept;
}

static double fake_random(kin_clock *clock) {
  stepped *self = of_clock(clock);
  return self->randoms_given < self->random_count ? self->randoms[self->randoms_given++]
                                                  : self->usual;
}

static double in_seconds(kin_time time) {
  return (double)time / (double)KIN_SECOND;
}

kin_time stepped_time(double seconds) {
  return (kin_time)(seconds * (double)KIN_SECOND + (seconds < 0 ? -0.5 : 0.5));
}

/* ---- the transport ---- */

static void fake_start(kin_transport *transport, kin_exchange *exchange) {
  stepped *self = (stepped *)transport;
  request *started = __real_calloc(1, sizeof *started);
  if (!started)
    abort();
  *started =
      (request){.exchange = exchange, .id = ++self->started, .at = self->now, .wall = self->wall};
  kin_exchange_reset(exchange);
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
  free(old->rest);
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
  abort(); /* the engine has cancelled an exchange that is not in flight */
}

/* Takes the body as http does. It is kept in `rest` when there is no space for it now. */
static void take_body(request *one, kin_slice body) {
  kin_exchange *exchange = one->exchange;
  kin_space space = kin_exchange_take_body(exchange, body);
  one->over = space != KIN_SPACE_LATER;
  if (!one->over && !one->rest) {
    one->rest = __real_calloc(1, body.len + 1);
    if (!one->rest)
      abort();
    memcpy(one->rest, body.at, body.len);
    one->rest_len = body.len;
  }
  if (space == KIN_SPACE_NONE)
    kin_exchange_fail_by_code(exchange);
}

static void fake_resume(kin_transport *transport, kin_exchange *exchange) {
  request *one = ((stepped *)transport)->requests;
  while (one && one->exchange != exchange)
    one = one->next;
  if (!one || !one->rest)
    abort(); /* the engine resumes an exchange that is not paused */
  take_body(one, (kin_slice){one->rest, one->rest_len});
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
  abort(); /* only an engine's thread waits */
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

stepped_inbox *stepped_messages(lua_State *L) {
  return &check_open(L)->inbox;
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

void stepped_set_number(lua_State *L, const char *field, double number) {
  lua_pushnumber(L, number);
  lua_setfield(L, -2, field);
}

void stepped_set_integer(lua_State *L, const char *field, lua_Integer number) {
  lua_pushinteger(L, number);
  lua_setfield(L, -2, field);
}

void stepped_set_boolean(lua_State *L, const char *field, bool is) {
  lua_pushboolean(L, is);
  lua_setfield(L, -2, field);
}

/* ---- life ---- */

/* As the engine's thread ends, but that time stands still. */
static void stop_engine(kin_engine *engine) {
  if (!kin_engine_stopped(engine))
    kin_engine_end(engine);
  if (engine->engine_only.machines)
    kin_engine_step(engine);
  kin_engine_stop(engine);
}

static int close_stepped(lua_State *L) {
  stepped *self = check_stepped(L);
  kin_engine *engine = self->engine;
  if (!engine)
    return 0;
  self->engine = NULL;
  stop_engine(engine);
  kin_message_list_free(&self->inbox.arrived);
  kin_message_list_free(&self->inbox.withheld);
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
      .connect_timeout = stepped_time(stepped_number(L, 1, "connect_timeout", 3)),
      .request_timeout = stepped_time(stepped_number(L, 1, "request_timeout", 20)),
      .call_timeout = kin_seconds(stepped_number(L, 1, "call_timeout", 1e15)),
      .max_attempts = (unsigned)stepped_number(L, 1, "max_attempts", 3),
      .max_connections = (int)stepped_number(L, 1, "max_connections", 24),
  };
  stepped *self = lua_newuserdatauv(L, sizeof *self, 0);
  *self = (stepped){
      .transport = {fake_start, fake_cancel, fake_resume, fake_finished, fake_wait, fake_destroy},
      .now = 1000 * KIN_SECOND,
      .wall = 1767225600 * KIN_SECOND, /* 2026-01-01 */
      .usual = 0.5,
  };
  kin_message_list_init(&self->inbox.arrived);
  kin_message_list_init(&self->inbox.withheld);
  luaL_getmetatable(L, STEPPED);
  lua_setmetatable(L, -2);
  kin_clock clock = {.monotonic = fake_monotonic,
                     .coarse = fake_monotonic,
                     .wall = fake_wall,
                     .boottime = fake_boottime,
                     .random = fake_random,
                     .seed = (uint64_t)(uintptr_t)self};
  self->engine = kin_engine_create(&options, &clock, &self->transport);
  return self->engine ? 1 : luaL_error(L, "no engine: out of memory");
}

/* engine:stop(): as a client does when it is closed; messages can still be read */
static int stop(lua_State *L) {
  stop_engine(check_open(L)->engine);
  return 0;
}

/* ---- time ---- */

static int advance(lua_State *L) {
  stepped *self = check_stepped(L);
  kin_time by = stepped_time(luaL_checknumber(L, 2));
  self->now += by;
  self->wall += by;
  return 0;
}

/* engine:suspend(seconds): the machine sleeps */
static int suspend(lua_State *L) {
  stepped *self = check_stepped(L);
  kin_time by = stepped_time(luaL_checknumber(L, 2));
  self->slept += by;
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
  check_stepped(L)->wall = stepped_time(luaL_checknumber(L, 2));
  return 0;
}

/* engine:randoms(usual, first, second, …): what random() gives: first, second, …, then `usual` */
static int randoms(lua_State *L) {
  stepped *self = check_stepped(L);
  int top = lua_gettop(L);
  luaL_argcheck(L, top - 2 <= RANDOMS_MAX, 3, "too many");
  self->usual = luaL_checknumber(L, 2);
  self->randoms_given = self->random_count = 0;
  for (int i = 3; i <= top; i++)
    self->randoms[self->random_count++] = luaL_checknumber(L, i);
  return 0;
}

/* Does what the engine's thread does before it sleeps: steps until nothing is due and no message is
 * left. */
static kin_time step_all(lua_State *L, stepped *self) {
  for (int round = 0; round < ROUNDS_MAX; round++) {
    kin_time due = kin_engine_step(self->engine);
    if (due > self->now && kin_mailbox_sleep(&self->engine->shared.inbox))
      return due;
  }
  return luaL_error(L, "the engine spins: it has something due at every step");
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
  kin_time end = self->now + stepped_time(luaL_checknumber(L, 2));
  for (;;) {
    kin_time due = step_all(L, self);
    kin_time next = due < end ? due : end;
    self->wall += next - self->now;
    self->now = next;
    if (due > end)
      return 0;
  }
}

/* ---- requests in flight ---- */

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
 * connect_timeout=, paused=}, in the order in which they were started; paused: answered, but there
 * is no space for the answer */
static int requests(lua_State *L) {
  stepped *self = check_stepped(L);
  int count = 0;
  lua_newtable(L);
  for (const request *one = self->requests; one; one = one->next) {
    const kin_exchange *exchange = one->exchange;
    if (one->over)
      continue;
    lua_createtable(L, 0, 8);
    stepped_set_integer(L, "id", one->id);
    stepped_set_text(L, "url", kin_slice_of(exchange->url));
    stepped_set_text(L, "body", exchange->body);
    stepped_set_number(L, "at", in_seconds(one->at));
    stepped_set_number(L, "wall", in_seconds(one->wall));
    stepped_set_number(L, "timeout", in_seconds(exchange->timeout));
    stepped_set_number(L, "connect_timeout", in_seconds(exchange->connect_timeout));
    stepped_set_boolean(L, "paused", one->rest != NULL);
    push_headers(L, exchange);
    lua_setfield(L, -2, "headers");
    lua_rawseti(L, -2, ++count);
  }
  return 1;
}

static request *find_request(lua_State *L, stepped *self) {
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_Integer id = (lua_Integer)stepped_number(L, 2, "id", 0);
  for (request *one = self->requests; one; one = one->next)
    if (one->id == id && !one->over)
      return one;
  luaL_error(L, "request %d is not in flight", (int)id);
  return NULL;
}

/* The exchange of a request in flight, which is answered from now on. */
static kin_exchange *check_request(lua_State *L, stepped *self) {
  request *found = find_request(L, self);
  found->over = true;
  return found->exchange;
}

static void copy_field(lua_State *L, const char *field, char *out, size_t size) {
  kin_slice_copy(stepped_text(L, 3, field), out, size);
}

/* engine:answer(request, {status=200, body="", chunked=, date=, age=, error_type=, request_id=,
 * retry_after=}) -> whether it was taken, not paused */
static int answer(lua_State *L) {
  stepped *self = check_open(L);
  luaL_checktype(L, 3, LUA_TTABLE);
  kin_slice body = stepped_text(L, 3, "body");
  int status = (int)stepped_number(L, 3, "status", 200);
  bool aged = stepped_boolean(L, 3, "age");
  request *found = find_request(L, self);
  kin_exchange *exchange = found->exchange;
  if (found->rest)
    luaL_error(L, "request %d is paused", (int)found->id);
  exchange->status = status;
  exchange->aged = aged;
  exchange->expected = stepped_boolean(L, 3, "chunked") ? 0 : body.len;
  take_body(found, body.at ? body : KIN_SLICE(""));
  copy_field(L, "date", exchange->date, sizeof exchange->date);
  copy_field(L, "error_type", exchange->error_type, sizeof exchange->error_type);
  copy_field(L, "request_id", exchange->request_id, sizeof exchange->request_id);
  copy_field(L, "retry_after", exchange->retry_after, sizeof exchange->retry_after);
  lua_pushboolean(L, found->over);
  return 1;
}

/* engine:stream(request, bytes) -> whether the stream goes on: bytes of a response of status 200
 * have arrived */
static int stream(lua_State *L) {
  stepped *self = check_open(L);
  size_t len;
  const char *bytes = luaL_checklstring(L, 3, &len);
  request *found = find_request(L, self);
  kin_exchange *exchange = found->exchange;
  exchange->status = 200;
  kin_buf_add(&exchange->answer, bytes, len);
  bool open = exchange->arrived(exchange);
  if (!open) {
    found->over = true;
    exchange->failed = KIN_TRANSIENT;
  }
  lua_pushboolean(L, open);
  return 1;
}

/* engine:fail(request, {timed_out=, too_large=, out_of_memory=, unsent=, fatal=, trouble="…"}):
 * there is no response */
static int fail(lua_State *L) {
  stepped *self = check_open(L);
  luaL_checktype(L, 3, LUA_TTABLE);
  kin_exchange *exchange = check_request(L, self);
  exchange->failed = stepped_boolean(L, 3, "fatal") ? KIN_FATAL : KIN_TRANSIENT;
  exchange->code = stepped_boolean(L, 3, "timed_out")       ? KIN_CODE_TIMEOUT
                   : stepped_boolean(L, 3, "too_large")     ? KIN_CODE_BAD_ANSWER
                   : stepped_boolean(L, 3, "out_of_memory") ? KIN_CODE_OUT_OF_MEMORY
                                                            : NULL;
  exchange->unsent = stepped_boolean(L, 3, "unsent");
  copy_field(L, "trouble", exchange->trouble, sizeof exchange->trouble);
  return 0;
}

/* engine:counts() -> {started=, cancelled=, in_flight=, most=, destroyed=, quota=, skew=} */
static int counts(lua_State *L) {
  stepped *self = check_stepped(L);
  lua_createtable(L, 0, 8);
  stepped_set_integer(L, "started", self->started);
  stepped_set_integer(L, "cancelled", self->cancelled);
  stepped_set_integer(L, "in_flight", self->in_flight);
  stepped_set_integer(L, "most", self->most);
  stepped_set_boolean(L, "destroyed", self->destroyed);
  if (self->engine) {
    stepped_set_integer(L, "quota", self->engine->engine_only.retry.quota);
    stepped_set_number(L, "skew", in_seconds(self->engine->engine_only.retry.skew));
  }
  return 1;
}

__attribute__((visibility("default"))) int luaopen_stepped(lua_State *L);

int luaopen_stepped(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"advance", advance},
      {"suspend", suspend},
      {"answer", answer},
      {"call", stepped_call},
      {"cancel", stepped_cancel},
      {"close", close_stepped},
      {"counts", counts},
      {"credentials", stepped_credentials},
      {"credentials_failed", stepped_credentials_failed},
      {"randoms", randoms},
      {"fail", fail},
      {"give_back", stepped_give_back},
      {"hand_over", stepped_hand_over},
      {"leases", stepped_leases},
      {"messages", stepped_take_messages},
      {"now", now},
      {"producer", stepped_producer},
      {"put_many", stepped_put_many},
      {"reader", stepped_reader},
      {"command", stepped_command},
      {"requests", requests},
      {"run", run},
      {"set_wall", set_wall},
      {"step", step},
      {"stream", stream},
      {"stop", stop},
      {"subscribe", stepped_subscribe},
      {"__gc", close_stepped},
      {NULL, NULL},
  };
  stepped_leases_open(L);
  stepped_producer_open(L);
  stepped_metrics_open(L);
  stepped_window_pool_open(L);
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
  stepped_push_codec(L);
  lua_setfield(L, -2, "codec");
  lua_pushcfunction(L, stepped_lineage_visits);
  lua_setfield(L, -2, "lineage_visits");
  lua_pushcfunction(L, stepped_window_pool);
  lua_setfield(L, -2, "window_pool");
  return 1;
}
