/* stepped: the metrics of a reader. They outlive it.
 *
 *   local id, metrics = engine:reader { … }
 *   metrics:read((engine:now()))          -- {lag=, records=, bytes=, trimmed=, shards={[id]={…}}}
 */
#include "consumer/reader.h"
#include "stepped.h"

#define METRICS "stepped.metrics"

enum { SHARDS_MAX = 64 };

void stepped_metrics_push(lua_State *L, kin_reader_metrics *metrics) {
  kin_reader_metrics **held = lua_newuserdatauv(L, sizeof(kin_reader_metrics *), 0);
  *held = kin_reader_metrics_hold(metrics);
  luaL_getmetatable(L, METRICS);
  lua_setmetatable(L, -2);
}

static int release(lua_State *L) {
  kin_reader_metrics **held = luaL_checkudata(L, 1, METRICS);
  kin_reader_metrics_release(*held);
  *held = NULL;
  return 0;
}

static void push_shard(lua_State *L, const kin_reader_shard_figures *shard) {
  static const char *const states[] = {
      [KIN_SHARD_WAITING] = "waiting", [KIN_SHARD_STARTING] = "starting",
      [KIN_SHARD_READING] = "reading", [KIN_SHARD_BLOCKED] = "blocked",
      [KIN_SHARD_ASKING] = "asking",   [KIN_SHARD_PAUSED] = "paused",
      [KIN_SHARD_DONE] = "done",
  };
  lua_createtable(L, 0, 10);
  stepped_set_text(L, "state", kin_slice_of(states[shard->state]));
  stepped_set_number(L, "behind", shard->millis_behind);
  stepped_set_integer(L, "records", (lua_Integer)shard->records);
  stepped_set_number(L, "records_per_second", shard->records_per_second);
  stepped_set_number(L, "bytes_per_second", shard->bytes_per_second);
  stepped_set_integer(L, "calls", (lua_Integer)shard->counts[KIN_READER_CALLS]);
  stepped_set_integer(L, "throttled", (lua_Integer)shard->counts[KIN_READER_THROTTLED]);
  stepped_set_integer(L, "renewals", (lua_Integer)shard->counts[KIN_READER_RENEWALS]);
  stepped_set_integer(L, "failures", (lua_Integer)shard->counts[KIN_READER_FAILURES]);
}

/* metrics:read(now) */
static int read(lua_State *L) {
  kin_reader_metrics *metrics = *(kin_reader_metrics **)luaL_checkudata(L, 1, METRICS);
  kin_reader_shard_figures shards[SHARDS_MAX];
  kin_reader_figures figures =
      kin_reader_metrics_read(metrics, stepped_time(luaL_checknumber(L, 2)), shards, SHARDS_MAX);
  luaL_argcheck(L, figures.shards <= SHARDS_MAX, 1, "too many shards");
  lua_createtable(L, 0, 5);
  if (figures.lag >= 0)
    stepped_set_number(L, "lag", figures.lag);
  stepped_set_integer(L, "records", (lua_Integer)figures.records);
  stepped_set_integer(L, "bytes", (lua_Integer)figures.bytes);
  stepped_set_integer(L, "trimmed", (lua_Integer)figures.trimmed);
  lua_newtable(L);
  for (size_t i = 0; i < figures.shards; i++) {
    push_shard(L, &shards[i]);
    lua_setfield(L, -2, shards[i].shard_id);
  }
  lua_setfield(L, -2, "shards");
  return 1;
}

/* metrics:close(now): as a Lua reader does that is closed */
static int close_metrics(lua_State *L) {
  kin_reader_metrics *metrics = *(kin_reader_metrics **)luaL_checkudata(L, 1, METRICS);
  kin_reader_metrics_close(metrics, stepped_time(luaL_checknumber(L, 2)));
  return 0;
}

void stepped_metrics_open(lua_State *L) {
  luaL_newmetatable(L, METRICS);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, read);
  lua_setfield(L, -2, "read");
  lua_pushcfunction(L, close_metrics);
  lua_setfield(L, -2, "close");
  lua_pushcfunction(L, release);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
}
