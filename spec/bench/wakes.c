/* wakes: a thread that writes a wake now and then, and notes when: what an engine is to its host,
 * and nothing else. `require "wakes_thread".open(seconds)` gives an object with those methods of a
 * client's core that the adapters in wait/ use, and
 *
 *   core:late()    -- seconds since the last wake was written
 *   core:close()   -- ends the thread */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "engine/wake.h"
#include "lua/values.h"

typedef struct wakes {
  kin_wake wake;
  pthread_t thread;
  atomic_bool asleep, stopped, posted;
  _Atomic double written;
  double pause;
} wakes;

static double now(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

/* The thread: only who sleeps is woken. */
static void *run(void *context) {
  wakes *self = context;
  struct timespec pause = {(time_t)self->pause, (long)((self->pause - (time_t)self->pause) * 1e9)};
  while (!atomic_load(&self->stopped)) {
    nanosleep(&pause, NULL);
    if (!atomic_exchange(&self->asleep, false))
      continue;
    atomic_store(&self->posted, true);
    atomic_store(&self->written, now());
    kin_wake_write(&self->wake);
  }
  return NULL;
}

static wakes *check(lua_State *L) {
  return luaL_checkudata(L, 1, "wakes");
}

static int arm(lua_State *L) {
  wakes *self = check(L);
  bool empty = !atomic_load(&self->posted);
  if (empty)
    atomic_store(&self->asleep, true);
  lua_pushboolean(L, empty);
  return 1;
}

static int clear(lua_State *L) {
  kin_wake_clear(&check(L)->wake);
  return 0;
}

static int fd(lua_State *L) {
  lua_pushinteger(L, check(L)->wake.readable);
  return 1;
}

static int listen_for_host(lua_State *L) {
  lua_pushstring(L, kin_wake_listen(&check(L)->wake, "/tmp"));
  return 1;
}

static int accept_host(lua_State *L) {
  lua_pushboolean(L, kin_wake_accept(&check(L)->wake));
  return 1;
}

static int is_closed(lua_State *L) {
  lua_pushboolean(L, atomic_load(&check(L)->stopped));
  return 1;
}

static int poke(lua_State *L) {
  kin_wake_write(&check(L)->wake);
  return 0;
}

static int drain(lua_State *L) {
  wakes *self = check(L);
  bool posted = atomic_exchange(&self->posted, false);
  if (posted) {
    lua_pushinteger(L, 1);
    lua_rawseti(L, 2, 1);
  }
  lua_pushinteger(L, posted);
  lua_pushboolean(L, false);
  return 2;
}

static int late(lua_State *L) {
  lua_pushnumber(L, now() - atomic_load(&check(L)->written));
  return 1;
}

static int close_wakes(lua_State *L) {
  wakes *self = check(L);
  if (atomic_exchange(&self->stopped, true))
    return 0;
  pthread_join(self->thread, NULL);
  kin_wake_write(&self->wake); /* who waits sees it */
  return 0;
}

static int open(lua_State *L) {
  double pause = luaL_checknumber(L, 1);
  wakes *self = lua_newuserdata(L, sizeof *self);
  memset(self, 0, sizeof *self);
  self->pause = pause;
  if (!kin_wake_open(&self->wake) || pthread_create(&self->thread, NULL, run, self) != 0)
    return luaL_error(L, "no wake");
  luaL_getmetatable(L, "wakes");
  lua_setmetatable(L, -2);
  return 1;
}

__attribute__((visibility("default"))) int luaopen_wakes_thread(lua_State *L);

int luaopen_wakes_thread(lua_State *L) {
  static const struct {
    const char *name;
    lua_CFunction function;
  } methods[] = {
      {"arm", arm},
      {"clear", clear},
      {"fd", fd},
      {"listen", listen_for_host},
      {"accept", accept_host},
      {"is_closed", is_closed},
      {"poke", poke},
      {"drain", drain},
      {"late", late},
      {"close", close_wakes},
  };
  luaL_newmetatable(L, "wakes");
  lua_newtable(L);
  for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
    lua_pushcfunction(L, methods[i].function);
    lua_setfield(L, -2, methods[i].name);
  }
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushcfunction(L, open);
  lua_setfield(L, -2, "open");
  return 1;
}
