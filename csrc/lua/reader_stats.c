#include "lua/reader_stats.h"

#define READER_STATS "kinesis.reader_metrics"

static kin_reader_metrics *check(lua_State *L) {
  kin_reader_metrics *metrics = *(kin_reader_metrics **)luaL_checkudata(L, 1, READER_STATS);
  luaL_argcheck(L, metrics, 1, "closed");
  return metrics;
}

static void set_count(lua_State *L, const char *name, uint64_t count) {
  lua_pushinteger(L, (lua_Integer)count);
  lua_setfield(L, -2, name);
}

static void set_number(lua_State *L, const char *name, double number) {
  lua_pushnumber(L, number);
  lua_setfield(L, -2, name);
}

static const char *name_of(kin_shard_state state) {
  static const char *const names[] = {
      [KIN_SHARD_WAITING] = "waiting", [KIN_SHARD_STARTING] = "starting",
      [KIN_SHARD_READING] = "reading", [KIN_SHARD_BLOCKED] = "blocked",
      [KIN_SHARD_ASKING] = "asking",   [KIN_SHARD_PAUSED] = "paused",
      [KIN_SHARD_DONE] = "done",
  };
  return names[state];
}

static void push_shard(lua_State *L, const kin_reader_shard_figures *shard) {
  lua_createtable(L, 0, 12);
  lua_pushstring(L, name_of(shard->state));
  lua_setfield(L, -2, "state");
  if (shard->millis_behind >= 0)
    set_number(L, "millis_behind_latest", shard->millis_behind);
  set_count(L, "records", shard->records);
  set_count(L, "bytes", shard->bytes);
  set_number(L, "records_per_second", shard->records_per_second);
  set_number(L, "bytes_per_second", shard->bytes_per_second);
  set_count(L, "calls", shard->counts[KIN_READER_CALLS]);
  set_count(L, "throttled", shard->counts[KIN_READER_THROTTLED]);
  set_count(L, "renewals", shard->counts[KIN_READER_RENEWALS]);
  set_count(L, "failures", shard->counts[KIN_READER_FAILURES]);
}

static void push_lag(lua_State *L, double lag) {
  if (lag < 0)
    lua_pushnil(L);
  else
    lua_pushnumber(L, lag);
}

/* Copies the figures under the lock, into memory of Lua, which is left on the top; the tables are
 * made without it, as Lua may raise an error. */
static kin_reader_shard_figures *copy(lua_State *L, kin_reader_figures *figures) {
  kin_reader_metrics *metrics = check(L);
  kin_reader_shard_figures *shards = NULL;
  size_t capacity = 0;
  for (;;) {
    *figures = kin_reader_metrics_read(metrics, kin_monotonic(), shards, capacity);
    if (shards && figures->shards <= capacity)
      return shards;
    lua_settop(L, 1);
    capacity = figures->shards + 1; /* one may be added until the next round */
    shards = kin_lua_class_userdata(L, capacity * sizeof *shards);
  }
}

/* metrics:stats() -> {lag=, records=, bytes=, trimmed=, shards={[id]={…}}} */
static int stats(lua_State *L) {
  kin_reader_figures figures;
  const kin_reader_shard_figures *shards = copy(L, &figures);
  lua_createtable(L, 0, 8);
  push_lag(L, figures.lag);
  lua_setfield(L, -2, "lag");
  set_count(L, "records", figures.records);
  set_count(L, "bytes", figures.bytes);
  set_count(L, "trimmed", figures.trimmed);
  lua_createtable(L, 0, (int)figures.shards);
  for (size_t i = 0; i < figures.shards; i++) {
    push_shard(L, &shards[i]);
    lua_setfield(L, -2, shards[i].shard_id);
  }
  lua_setfield(L, -2, "shards");
  return 1;
}

/* metrics:lag() -> seconds, or nil */
static int lag(lua_State *L) {
  push_lag(L, kin_reader_metrics_read(check(L), kin_monotonic(), NULL, 0).lag);
  return 1;
}

static int release(lua_State *L) {
  kin_reader_metrics **metrics = luaL_checkudata(L, 1, READER_STATS);
  kin_reader_metrics_release(*metrics);
  *metrics = NULL;
  return 0;
}

int kin_lua_reader_stats_push(lua_State *L, kin_reader_metrics *metrics) {
  kin_reader_metrics **held = kin_lua_class_userdata(L, sizeof(kin_reader_metrics *));
  *held = NULL;
  kin_lua_class_set(L, READER_STATS);
  *held = kin_reader_metrics_hold(metrics);
  return 1;
}

void kin_lua_reader_stats_open(lua_State *L) {
  static const luaL_Reg methods[] = {{"stats", stats}, {"lag", lag}, {NULL, NULL}};
  kin_lua_class_create(L, READER_STATS, methods, release);
}
