#include "lua/client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "engine/http.h"
#include "lua/call.h"
#include "lua/error.h"
#include "lua/field.h"
#include "lua/handle.h"
#include "lua/leases.h"
#include "lua/producer.h"
#include "lua/provider_io.h"
#include "lua/put_many.h"
#include "lua/reader.h"

#define CLIENT "kinesis.client"

typedef struct client {
  kin_engine *engine;       /* counted; NULL once closed */
  kin_message_list arrived; /* taken from the outbox, not yet delivered to handles */
} client;

static client *check_client(lua_State *L) {
  return luaL_checkudata(L, 1, CLIENT);
}

/* The client's engine; NULL when the client was closed, or belongs to a parent process. */
static kin_engine *usable(const client *c) {
  return c->engine && !kin_engine_forked(c->engine) ? c->engine : NULL;
}

static int close_client(lua_State *L) {
  client *c = check_client(L);
  kin_engine *engine = c->engine;
  c->engine = NULL;
  if (!engine || kin_engine_forked(engine))
    return 0;
  kin_engine_stop(engine);
  /* messages can hold references on the engine */
  kin_mailbox_take_all(kin_engine_outbox(engine), &c->arrived);
  kin_message_list_free(&c->arrived);
  kin_engine_release(engine);
  return 0;
}

/* ---- creation ---- */

int kin_lua_client_push(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  const char *ca_bundle = kin_lua_field_text(L, 1, "ca_bundle");
  kin_engine_options options = {
      .endpoint = {.service = &kin_service_kinesis,
                   .region = kin_lua_field_text(L, 1, "region"),
                   .url = kin_lua_field_text(L, 1, "url"),
                   .host = kin_lua_field_text(L, 1, "host"),
                   .path = kin_lua_field_text(L, 1, "path")},
      .connect_timeout = kin_seconds(kin_lua_field_number(L, 1, "connect_timeout")),
      .request_timeout = kin_seconds(kin_lua_field_number(L, 1, "request_timeout")),
      .call_timeout = kin_lua_field_number(L, 1, "call_timeout") > 0
                          ? kin_seconds(kin_lua_field_number(L, 1, "call_timeout"))
                          : KIN_NEVER,
      .traced = kin_lua_field_number(L, 1, "traced") > 0,
      .max_attempts = (unsigned)kin_lua_field_number(L, 1, "max_attempts"),
      .max_connections = (int)kin_lua_field_number(L, 1, "max_connections"),
  };
  client *c = kin_lua_class_userdata(L, sizeof *c);
  c->engine = NULL;
  kin_message_list_init(&c->arrived);
  kin_lua_class_set(L, CLIENT);
  kin_clock clock;
  kin_clock_init(&clock);
  if (!kin_http_global_init())
    return luaL_error(L, "libcurl could not be initialised");
  errno = 0;
  c->engine = kin_engine_create(&options, &clock,
                                kin_http_create(ca_bundle[0] ? ca_bundle : NULL,
                                                kin_lua_field_text(L, 1, "user_agent"),
                                                options.max_connections));
  if (c->engine && kin_engine_start(c->engine))
    return 1;
  bool limited = c->engine || errno == EMFILE || errno == ENFILE;
  return kin_lua_error_push_own(
      L, limited ? KIN_CODE_CONNECTION : KIN_CODE_OUT_OF_MEMORY, NULL,
      "the client could not be created: %s",
      c->engine ? "the system allows no more threads (ulimit -u)"
      : limited ? "the system allows no more open files (ulimit -n); close clients"
                : "out of memory");
}

/* ---- credentials ---- */

/* client:set_credentials(access_key_id, secret_access_key, session_token | nil, expires | nil,
 * fixed, account_id | nil); `expires` in seconds since 1970; `fixed`: there is no provider to ask
 * for others; account_id: "" when it is no label of a host */
static int set_credentials(lua_State *L) {
  client *c = check_client(L);
  if (kin_lua_handle_push_gone(L, c->engine, NULL) > 0)
    return 2;
  kin_credentials credentials = {luaL_checkstring(L, 2), luaL_checkstring(L, 3),
                                 luaL_optstring(L, 4, NULL)};
  kin_time expires = lua_isnoneornil(L, 5) ? KIN_NEVER : kin_seconds(luaL_checknumber(L, 5));
  kin_credentials_message *message =
      kin_credentials_message_create(&credentials, luaL_optstring(L, 7, NULL), expires);
  if (!message)
    return luaL_error(L, "out of memory");
  message->fixed = lua_toboolean(L, 6);
  lua_pushboolean(L, kin_engine_post(c->engine, &message->message));
  return 1;
}

/* client:credentials_failed(message, code): the providers have none */
static int credentials_failed(lua_State *L) {
  client *c = check_client(L);
  const char *why = luaL_checkstring(L, 2), *code = luaL_checkstring(L, 3);
  if (kin_lua_handle_push_gone(L, c->engine, NULL) > 0)
    return 2;
  kin_credentials_message *message = kin_credentials_message_create(NULL, NULL, KIN_NEVER);
  if (!message)
    return luaL_error(L, "out of memory");
  kin_error_set(&message->error, KIN_FATAL, code, "%s", why);
  lua_pushboolean(L, kin_engine_post(c->engine, &message->message));
  return 1;
}

/* client:expiry_offset() -> seconds to add to the local clock to judge the expiry of credentials */
static int expiry_offset(lua_State *L) {
  client *c = check_client(L);
  lua_pushnumber(
      L, usable(c) ? (lua_Number)kin_engine_expiry_offset(c->engine) / (lua_Number)KIN_SECOND : 0);
  return 1;
}

/* client:time() -> seconds since 1970, by the service's clock */
static int service_time(lua_State *L) {
  client *c = check_client(L);
  kin_time now = usable(c) ? kin_engine_service_time(c->engine) : kin_wall();
  lua_pushnumber(L, (lua_Number)now / (lua_Number)KIN_SECOND);
  return 1;
}

/* ---- sending ---- */

static int put(lua_State *L) {
  return kin_lua_call_put(L, check_client(L)->engine);
}

static int put_many(lua_State *L) {
  return kin_lua_put_many_send(L, check_client(L)->engine);
}

static int call(lua_State *L) {
  return kin_lua_call_send(L, check_client(L)->engine);
}

static int subscribe(lua_State *L) {
  return kin_lua_call_subscribe(L, check_client(L)->engine);
}

static int fetch(lua_State *L) {
  return kin_lua_provider_io_fetch(L, check_client(L)->engine);
}

static int run(lua_State *L) {
  return kin_lua_provider_io_run(L, check_client(L)->engine);
}

/* client:target(url, host, path, account_host | nil, needs_account [, "dynamodb", region]) -> the
 * target of calls to another endpoint, of this client; see target.h */
static int target(lua_State *L) {
  client *c = check_client(L);
  kin_endpoint endpoint = {.url = luaL_checkstring(L, 2),
                           .host = luaL_checkstring(L, 3),
                           .path = luaL_checkstring(L, 4),
                           .account_host = luaL_optstring(L, 5, NULL),
                           .needs_account = lua_toboolean(L, 6),
                           .service = lua_isnoneornil(L, 7) ? NULL : &kin_service_dynamodb,
                           .region = luaL_optstring(L, 8, NULL)};
  if (kin_lua_handle_push_gone(L, c->engine, NULL) > 0)
    return 2;
  const kin_target *there = kin_engine_target(c->engine, &endpoint);
  if (!there)
    return luaL_error(L, "not enough memory");
  lua_pushlightuserdata(L, (void *)there);
  return 1;
}

static int leases(lua_State *L) {
  return kin_lua_leases_push(L, check_client(L)->engine);
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
  kin_lua_field_set(L, "operation", kin_slice_of(event->operation));
  kin_lua_field_set(L, "url", kin_slice_of(event->url));
  kin_lua_field_set(L, "invocation_id", kin_slice_of(event->invocation));
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
  kin_lua_field_set(L, "request_id", kin_slice_of(event->error.request_id));
  if (event->error.class != KIN_OK) {
    kin_lua_error_push(L, &event->error);
    lua_setfield(L, -2, "error");
  }
  if (event->kind == KIN_EVENT_RETRY) {
    lua_pushnumber(L, (lua_Number)event->delay / (lua_Number)KIN_SECOND);
    lua_setfield(L, -2, "delay");
  }
}

/* client:drain(ready, events)
 * Delivers every message to its handle and appends the ids of those handles to `ready`, where it
 * also sets credentials_wanted; appends trace events to `events`. The caller dispatches, and then
 * empties `ready`. */
static int drain(lua_State *L) {
  client *c = check_client(L);
  kin_message *message;
  luaL_checktype(L, 2, LUA_TTABLE);
  if (!usable(c))
    return 0;
  int count = (int)lua_rawlen(L, 2);
  kin_engine_note_invocation(c->engine); /* for what producers and readers send by themselves */
  kin_mailbox_take_all(kin_engine_outbox(c->engine), &c->arrived);
  while ((message = c->arrived.first)) { /* stays in the list while Lua may raise */
    bool for_handle = false;
    if (message->kind == KIN_MESSAGE_EVENT) {
      push_event(L, (kin_event *)message);
      lua_rawseti(L, 3, (int)lua_rawlen(L, 3) + 1);
    } else if (message->kind == KIN_MESSAGE_CREDENTIALS_WANTED) {
      lua_pushboolean(L, 1);
      lua_setfield(L, 2, "credentials_wanted");
    } else {
      /* also when the handle was collected: a coroutine can still be registered for its id */
      for_handle = true;
      lua_pushnumber(L, (lua_Number)message->owner);
      lua_rawseti(L, 2, ++count);
    }
    kin_message_list_take(&c->arrived);
    if (for_handle)
      kin_lua_handle_deliver(L, message);
    else
      kin_message_free(message);
  }
  return 0;
}

/* client:arm() -> true: the host may wait for the wake | false: there is something to drain */
static int arm(lua_State *L) {
  client *c = check_client(L);
  lua_pushboolean(L, usable(c) && kin_mailbox_sleep(kin_engine_outbox(c->engine)));
  return 1;
}

/* client:fd() -> a descriptor that is readable when an armed client has something to drain */
static int fd(lua_State *L) {
  client *c = check_client(L);
  lua_pushinteger(L, c->engine ? kin_engine_outbox(c->engine)->wake.readable : -1);
  return 1;
}

/* client:listen(folder) -> path of a socket there that is written to as the wake is | nil, message
 */
static int listen_for_host(lua_State *L) {
  client *c = check_client(L);
  if (kin_lua_handle_push_gone(L, c->engine, NULL) > 0)
    return 2;
  const char *folder = luaL_checkstring(L, 2);
  const char *path = kin_wake_listen(&kin_engine_outbox(c->engine)->wake, folder);
  lua_pushstring(L, path);
  if (path)
    return 1;
  lua_pushfstring(L, "no socket can be made in %s: %s", folder, strerror(errno));
  return 2;
}

static int accept_host(lua_State *L) {
  client *c = check_client(L);
  if (kin_lua_handle_push_gone(L, c->engine, NULL) > 0)
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
  if (kin_lua_handle_push_gone(L, c->engine, NULL) > 0)
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

/* client:poke(): writes the wake, so that a wait for this client ends. */
static int poke(lua_State *L) {
  client *c = check_client(L);
  if (usable(c))
    kin_mailbox_poke(kin_engine_outbox(c->engine));
  return 0;
}

static int clear(lua_State *L) {
  client *c = check_client(L);
  if (usable(c))
    kin_wake_clear(&kin_engine_outbox(c->engine)->wake);
  return 0;
}

static int is_closed(lua_State *L) {
  client *c = check_client(L);
  lua_pushboolean(L, !usable(c) || kin_engine_stopped(c->engine));
  return 1;
}

/* client:check(operation | nil) -> true | nil, error: closed, or of a parent process */
static int check(lua_State *L) {
  client *c = check_client(L);
  int gone = kin_lua_handle_push_gone(L, c->engine, luaL_optstring(L, 2, NULL));
  if (gone > 0)
    return gone;
  lua_pushboolean(L, 1);
  return 1;
}

/* So many clients are waited for without an allocation. */
enum { FEW = 16 };

/* Milliseconds. A signal that arrives just before poll() does not end it, and the VM cannot run the
 * signal's hook before poll() returns. The caller waits again. */
enum { LONGEST = 1000, WITHOUT_POLL = 10 };

int kin_lua_client_wait(lua_State *L) {
  bool ready = false;
  int count = 0;
  luaL_checktype(L, 1, LUA_TTABLE);
  double seconds = luaL_optnumber(L, 2, -1);
  int total = (int)lua_rawlen(L, 1);
  struct pollfd few_fds[FEW], *fds = few_fds;
  client *few_clients[FEW], **clients = few_clients;
  if (total > FEW) {
    fds = kin_lua_class_userdata(L, (size_t)total * sizeof *fds);
    clients = kin_lua_class_userdata(L, (size_t)total * sizeof(client *));
  }
  for (int i = 0; i < total; i++) {
    lua_rawgeti(L, 1, i + 1);
    client *c = luaL_checkudata(L, -1, CLIENT);
    lua_pop(L, 1);
    if (!usable(c) || !kin_mailbox_sleep(kin_engine_outbox(c->engine))) {
      ready = true;
      continue;
    }
    fds[count] =
        (struct pollfd){.fd = kin_engine_outbox(c->engine)->wake.readable, .events = POLLIN};
    clients[count++] = c;
  }
  if (!ready) {
    /* rounded up to whole milliseconds: an early return would spin */
    bool short_one = seconds >= 0 && seconds * 1000 < LONGEST;
    int millis = short_one ? (int)(seconds * 1000 + 0.999) : LONGEST;
    if (poll(fds, (nfds_t)count, millis) < 0 && errno != EINTR)
      poll(NULL, 0, WITHOUT_POLL); /* memory or descriptors are out: the caller looks for itself */
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
      {"set_credentials", set_credentials},
      {"credentials_failed", credentials_failed},
      {"expiry_offset", expiry_offset},
      {"time", service_time},
      {"put", put},
      {"put_many", put_many},
      {"call", call},
      {"subscribe", subscribe},
      {"fetch", fetch},
      {"run", run},
      {"target", target},
      {"reader", reader},
      {"leases", leases},
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
  kin_lua_class_create(L, CLIENT, methods, close_client);
}
