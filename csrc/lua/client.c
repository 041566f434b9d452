#include "lua/client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "engine/http.h"
#include "lua/handle.h"
#include "lua/producer.h"
#include "lua/reader.h"
#include "lua/ticket.h"

#define CLIENT "kinesis.client"

typedef struct client {
  kin_engine *engine;       /* counted; NULL once closed */
  kin_message_list arrived; /* taken from the outbox, not yet given out */
} client;

static client *check_client(lua_State *L) {
  return luaL_checkudata(L, 1, CLIENT);
}

static int close_client(lua_State *L) {
  client *c = check_client(L);
  kin_engine *engine = c->engine;
  c->engine = NULL;
  if (!engine || kin_engine_forked(engine))
    return 0;
  kin_engine_stop(engine);
  /* what nobody will take may hold the engine itself */
  kin_mailbox_take_all(kin_engine_outbox(engine), &c->arrived);
  kin_message_list_free(&c->arrived);
  kin_engine_release(engine);
  return 0;
}

/* ---- making one ---- */

static const char *text_field(lua_State *L, const char *field) {
  lua_getfield(L, 1, field);
  const char *text = lua_tostring(L, -1);
  lua_pop(L, 1); /* the table keeps it alive */
  return text ? text : "";
}

static lua_Number number_field(lua_State *L, const char *field) {
  lua_getfield(L, 1, field);
  lua_Number number = lua_tonumber(L, -1);
  lua_pop(L, 1);
  return number;
}

int kin_lua_client_push(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  const char *ca_bundle = text_field(L, "ca_bundle");
  kin_engine_options options = {
      .endpoint = {.service = &kin_service_kinesis,
                   .region = text_field(L, "region"),
                   .url = text_field(L, "url"),
                   .host = text_field(L, "host"),
                   .path = text_field(L, "path")},
      .connect_timeout = kin_seconds(number_field(L, "connect_timeout")),
      .request_timeout = kin_seconds(number_field(L, "request_timeout")),
      .call_timeout = number_field(L, "call_timeout") > 0
                          ? kin_seconds(number_field(L, "call_timeout"))
                          : KIN_NEVER,
      .traced = number_field(L, "traced") > 0,
      .max_attempts = (unsigned)number_field(L, "max_attempts"),
      .max_connections = (int)number_field(L, "max_connections"),
  };
  client *c = kin_lua_new_userdata(L, sizeof *c);
  c->engine = NULL;
  kin_message_list_init(&c->arrived);
  luaL_getmetatable(L, CLIENT);
  lua_setmetatable(L, -2);
  kin_clock clock;
  kin_clock_init(&clock);
  if (!kin_http_global_init())
    return luaL_error(L, "libcurl could not be initialised");
  c->engine =
      kin_engine_create(&options, &clock,
                        kin_http_create(ca_bundle[0] ? ca_bundle : NULL,
                                        text_field(L, "user_agent"), options.max_connections));
  if (!c->engine || !kin_engine_start(c->engine))
    return kin_lua_push_own_error(L, KIN_CODE_CONNECTION, NULL,
                                  "no engine could be started: out of memory, descriptors or "
                                  "threads");
  return 1;
}

/* ---- keys ---- */

/* client:set_keys(access_key_id, secret_access_key, session_token | nil, expires | nil) */
static int set_keys(lua_State *L) {
  client *c = check_client(L);
  if (kin_lua_engine_push_gone(L, c->engine, NULL) > 0)
    return 2;
  kin_credentials keys = {luaL_checkstring(L, 2), luaL_checkstring(L, 3),
                          luaL_optstring(L, 4, NULL)};
  kin_time expires = lua_isnoneornil(L, 5) ? KIN_NEVER : kin_seconds(luaL_checknumber(L, 5));
  kin_credentials_message *message = kin_credentials_message_create(&keys, expires);
  if (!message)
    return luaL_error(L, "out of memory");
  lua_pushboolean(L, kin_engine_post(c->engine, &message->message));
  return 1;
}

/* client:keys_failed(message): the provider has none */
static int keys_failed(lua_State *L) {
  client *c = check_client(L);
  const char *why = luaL_checkstring(L, 2);
  if (kin_lua_engine_push_gone(L, c->engine, NULL) > 0)
    return 2;
  kin_credentials_message *message = kin_credentials_message_create(NULL, KIN_NEVER);
  if (!message)
    return luaL_error(L, "out of memory");
  kin_error_set(&message->error, KIN_FATAL, KIN_CODE_NO_CREDENTIALS, "%s", why);
  lua_pushboolean(L, kin_engine_post(c->engine, &message->message));
  return 1;
}

/* ---- sending ---- */

static int put(lua_State *L) {
  return kin_lua_ticket_put(L, check_client(L)->engine);
}

static int put_chunk(lua_State *L) {
  return kin_lua_ticket_put_chunk(L, check_client(L)->engine);
}

static int call(lua_State *L) {
  return kin_lua_ticket_call(L, check_client(L)->engine);
}

static int subscribe(lua_State *L) {
  return kin_lua_ticket_subscribe(L, check_client(L)->engine);
}

static int fetch(lua_State *L) {
  return kin_lua_ticket_fetch(L, check_client(L)->engine);
}

static int run(lua_State *L) {
  return kin_lua_ticket_run(L, check_client(L)->engine);
}

/* client:target(url, host, path) -> what calls to another place take; of this client only */
static int target(lua_State *L) {
  client *c = check_client(L);
  kin_endpoint endpoint = {.url = luaL_checkstring(L, 2),
                           .host = luaL_checkstring(L, 3),
                           .path = luaL_checkstring(L, 4)};
  if (kin_lua_engine_push_gone(L, c->engine, NULL) > 0)
    return 2;
  const kin_target *there = kin_engine_target(c->engine, &endpoint);
  if (!there)
    return luaL_error(L, "not enough memory");
  lua_pushlightuserdata(L, (void *)there);
  return 1;
}

static int reader(lua_State *L) {
  return kin_lua_reader_push(L, check_client(L)->engine);
}

static int producer(lua_State *L) {
  return kin_lua_producer_push(L, check_client(L)->engine);
}

/* ---- draining and waiting ---- */

static void push_event(lua_State *L, const kin_event *event) {
  static const char *const kinds[] = {"request", "response", "retry"};
  lua_createtable(L, 0, 12);
  lua_pushstring(L, kinds[event->kind]);
  lua_setfield(L, -2, "kind");
  kin_lua_set_slice(L, "operation", kin_slice_of(event->operation));
  kin_lua_set_slice(L, "url", kin_slice_of(event->url));
  kin_lua_set_slice(L, "invocation_id", kin_slice_of(event->invocation));
  lua_pushinteger(L, (lua_Integer)event->attempt);
  lua_setfield(L, -2, "attempt");
  lua_pushinteger(L, (lua_Integer)event->bytes);
  lua_setfield(L, -2, "bytes");
  if (event->dropped > 0) {
    lua_pushinteger(L, (lua_Integer)event->dropped);
    lua_setfield(L, -2, "dropped");
  }
  if (event->kind == KIN_EVENT_REQUEST)
    return;
  lua_pushnumber(L, (lua_Number)event->duration / (lua_Number)KIN_SECOND);
  lua_setfield(L, -2, "duration");
  if (event->error.status > 0) {
    lua_pushinteger(L, event->error.status);
    lua_setfield(L, -2, "status");
  }
  kin_lua_set_slice(L, "request_id", kin_slice_of(event->error.request_id));
  if (event->error.class != KIN_OK) {
    kin_lua_push_error(L, &event->error);
    lua_setfield(L, -2, "error");
  }
  if (event->kind == KIN_EVENT_RETRY) {
    lua_pushnumber(L, (lua_Number)event->delay / (lua_Number)KIN_SECOND);
    lua_setfield(L, -2, "delay");
  }
}

/* client:drain(ready, events) -> count, credentials_wanted: gives every message to its handle, and
 * puts the ids of those handles into ready[1 … count]; events, of a client that is traced, behind
 * those in `events`. Dispatches nothing: that is the caller's. */
static int drain(lua_State *L) {
  client *c = check_client(L);
  bool credentials_wanted = false;
  lua_Integer count = 0;
  kin_message *message;
  luaL_checktype(L, 2, LUA_TTABLE);
  if (!c->engine || kin_engine_forked(c->engine)) {
    lua_pushinteger(L, 0);
    return 1;
  }
  kin_mailbox_take_all(kin_engine_outbox(c->engine), &c->arrived);
  while ((message = c->arrived.first)) {
    if (message->kind == KIN_MESSAGE_EVENT) {
      push_event(L, (kin_event *)message); /* still in the list: Lua may raise here */
      lua_rawseti(L, 3, (int)lua_rawlen(L, 3) + 1);
    }
    kin_message_list_take(&c->arrived);
    if (message->kind == KIN_MESSAGE_EVENT || message->kind == KIN_MESSAGE_CREDENTIALS_WANTED) {
      credentials_wanted = credentials_wanted || message->kind == KIN_MESSAGE_CREDENTIALS_WANTED;
      kin_message_free(message);
      continue;
    }
    /* told also when the handle is gone: who waited for it may be, too, and is to be forgotten */
    lua_pushnumber(L, (lua_Number)message->owner);
    kin_lua_handle_deliver(L, message);
    lua_rawseti(L, 2, (int)++count);
  }
  lua_pushinteger(L, count);
  lua_pushboolean(L, credentials_wanted);
  return 2;
}

/* client:arm() -> true when a host may wait for the wake; false when there is something already */
static int arm(lua_State *L) {
  client *c = check_client(L);
  bool sleeps =
      c->engine && !kin_engine_forked(c->engine) && kin_mailbox_sleep(kin_engine_outbox(c->engine));
  lua_pushboolean(L, sleeps);
  return 1;
}

/* client:fd() -> readable once an armed client has something */
static int fd(lua_State *L) {
  client *c = check_client(L);
  lua_pushinteger(L, c->engine ? kin_engine_outbox(c->engine)->wake.readable : -1);
  return 1;
}

/* client:listen() -> path | nil, why there is none */
static int listen_for_host(lua_State *L) {
  client *c = check_client(L);
  if (kin_lua_engine_push_gone(L, c->engine, NULL) > 0)
    return 2;
  const char *folder;
  const char *path = kin_wake_listen(&kin_engine_outbox(c->engine)->wake, &folder);
  lua_pushstring(L, path);
  if (path)
    return 1;
  lua_pushfstring(L, "no socket can be made in %s: %s", folder, strerror(errno));
  return 2;
}

static int accept_host(lua_State *L) {
  client *c = check_client(L);
  if (kin_lua_engine_push_gone(L, c->engine, NULL) > 0)
    return 2;
  kin_mailbox *box = kin_engine_outbox(c->engine);
  pthread_mutex_lock(&box->lock); /* the engine thread may be writing to the wake */
  bool accepted = kin_wake_accept(&box->wake);
  pthread_mutex_unlock(&box->lock);
  lua_pushboolean(L, accepted);
  return 1;
}

/* client:stats() -> a table of counters */
static int stats(lua_State *L) {
  client *c = check_client(L);
  if (kin_lua_engine_push_gone(L, c->engine, NULL) > 0)
    return 2;
  kin_counters *counters = kin_engine_counters(c->engine);
  struct {
    const char *name;
    lua_Number value;
  } rows[] = {
      {"calls", (lua_Number)atomic_load(&counters->calls)},
      {"attempts", (lua_Number)atomic_load(&counters->attempts)},
      {"retries", (lua_Number)atomic_load(&counters->retries)},
      {"throttled", (lua_Number)atomic_load(&counters->throttled)},
      {"failed", (lua_Number)atomic_load(&counters->failed)},
      {"bytes_sent", (lua_Number)atomic_load(&counters->bytes_sent)},
      {"bytes_received", (lua_Number)atomic_load(&counters->bytes_received)},
      {"in_flight", (lua_Number)atomic_load(&counters->in_flight)},
      {"queued", (lua_Number)atomic_load(&counters->queued)},
      {"subscriptions", (lua_Number)atomic_load(&counters->streams)},
  };
  lua_createtable(L, 0, sizeof rows / sizeof *rows);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    lua_pushinteger(L, (lua_Integer)rows[i].value);
    lua_setfield(L, -2, rows[i].name);
  }
  return 1;
}

/* client:poke(): wakes whoever waits for this client. Any coroutine; for a pump that has to end. */
static int poke(lua_State *L) {
  client *c = check_client(L);
  if (c->engine && !kin_engine_forked(c->engine))
    kin_mailbox_poke(kin_engine_outbox(c->engine));
  return 0;
}

static int clear(lua_State *L) {
  client *c = check_client(L);
  if (c->engine && !kin_engine_forked(c->engine))
    kin_wake_clear(&kin_engine_outbox(c->engine)->wake);
  return 0;
}

static int is_closed(lua_State *L) {
  client *c = check_client(L);
  lua_pushboolean(L, !c->engine || kin_engine_forked(c->engine) || kin_engine_stopped(c->engine));
  return 1;
}

/* nil, error when it was closed or belongs to a parent process; else true */
static int check(lua_State *L) {
  client *c = check_client(L);
  int gone = kin_lua_engine_push_gone(L, c->engine, luaL_optstring(L, 2, NULL));
  if (gone > 0)
    return gone;
  lua_pushboolean(L, 1);
  return 1;
}

/* Clients whose descriptors need no memory of their own. */
enum { FEW = 16 };

/* Milliseconds. A signal that came just before poll() does not end it, and the VM, which its
 * handler has asked to stop, cannot until we return. Whoever waits for longer calls again. */
enum { LONGEST = 1000 };

int kin_lua_client_wait(lua_State *L) {
  bool ready = false;
  int count = 0;
  luaL_checktype(L, 1, LUA_TTABLE);
  double seconds = luaL_optnumber(L, 2, -1);
  int given = (int)lua_rawlen(L, 1);
  struct pollfd few_fds[FEW], *fds = few_fds;
  client *few_clients[FEW], **clients = few_clients;
  if (given > FEW) {
    fds = kin_lua_new_userdata(L, (size_t)given * sizeof *fds);
    clients = kin_lua_new_userdata(L, (size_t)given * sizeof(client *));
  }
  for (int i = 0; i < given; i++) {
    lua_rawgeti(L, 1, i + 1);
    client *c = luaL_checkudata(L, -1, CLIENT);
    lua_pop(L, 1);
    if (!c->engine || kin_engine_forked(c->engine) ||
        !kin_mailbox_sleep(kin_engine_outbox(c->engine))) {
      ready = true;
      continue;
    }
    fds[count] =
        (struct pollfd){.fd = kin_engine_outbox(c->engine)->wake.readable, .events = POLLIN};
    clients[count++] = c;
  }
  if (!ready) {
    /* up to the next whole millisecond: waking early would spin */
    bool short_one = seconds >= 0 && seconds * 1000 < LONGEST;
    int millis = short_one ? (int)(seconds * 1000 + 0.999) : LONGEST;
    poll(fds, (nfds_t)count, millis);
    for (int i = 0; i < count; i++) {
      if (fds[i].revents == 0)
        continue;
      kin_wake_clear(&kin_engine_outbox(clients[i]->engine)->wake);
      ready = true;
    }
  }
  lua_pushboolean(L, ready);
  return 1;
}

void kin_lua_client_open(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"set_keys", set_keys},
      {"keys_failed", keys_failed},
      {"put", put},
      {"put_chunk", put_chunk},
      {"call", call},
      {"subscribe", subscribe},
      {"fetch", fetch},
      {"run", run},
      {"target", target},
      {"reader", reader},
      {"producer", producer},
      {"drain", drain},
      {"stats", stats},
      {"arm", arm},
      {"fd", fd},
      {"listen", listen_for_host},
      {"accept", accept_host},
      {"poke", poke},
      {"clear", clear},
      {"is_closed", is_closed},
      {"check", check},
      {NULL, NULL},
  };
  kin_lua_new_class(L, CLIENT, methods, close_client);
}
