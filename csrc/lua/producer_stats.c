#include "lua/producer_stats.h"

static void set_count(lua_State *L, const char *name, uint64_t count) {
  lua_pushinteger(L, (lua_Integer)count);
  lua_setfield(L, -2, name);
}

static void push_metrics(lua_State *L, const kin_metrics *metrics) {
  const struct {
    const char *name;
    const atomic_uint_fast64_t *count;
  } rows[] = {
      {"stored", &metrics->stored},
      {"stored_bytes", &metrics->stored_bytes},
      {"failed", &metrics->failed},
      {"expired", &metrics->expired},
      {"returned", &metrics->returned},
      {"retried", &metrics->retried},
      {"throttled", &metrics->throttled},
      {"possible_duplicates", &metrics->possible_duplicates},
      {"misplaced", &metrics->misplaced_records},
      {"requests", &metrics->requests},
      {"kinesis_records", &metrics->entries},
      {"kinesis_records_stored", &metrics->stored_entries},
      {"batches_full", &metrics->full_batches},
      {"batches_due", &metrics->due_batches},
      {"batches_flushed", &metrics->flushed_batches},
      {"in_flight", &metrics->in_flight},
      {"map_refreshes", &metrics->map_refreshes},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    set_count(L, rows[i].name, atomic_load(rows[i].count));
}

/* {buckets={{le=, count=}, …}, count=, sum=}: how many records were stored within `le` seconds of
 * their acceptance, and the sum of those times in seconds. */
static void push_latency(lua_State *L, const kin_metrics *metrics) {
  uint64_t count = 0;
  lua_createtable(L, 0, 3);
  lua_createtable(L, KIN_LATENCIES - 1, 0);
  for (int i = 0; i < KIN_LATENCIES; i++) {
    count += atomic_load(&metrics->latencies[i]);
    if (i == KIN_LATENCIES - 1)
      break;
    lua_createtable(L, 0, 2);
    lua_pushnumber(L, (lua_Number)(1 << i) / 1000);
    lua_setfield(L, -2, "le");
    set_count(L, "count", count);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "buckets");
  set_count(L, "count", count);
  lua_pushnumber(L, (lua_Number)atomic_load(&metrics->latency_sum) / (lua_Number)KIN_SECOND);
  lua_setfield(L, -2, "sum");
}

typedef struct shard_row {
  char shard_id[KIN_SHARD_ID_SIZE];
  uint64_t stored, stored_bytes, throttled, records_rate, bytes_rate, share;
} shard_row;

static size_t count_shards(kin_queue *queue) {
  size_t count = 0;
  for (kin_shard_metrics *shard = kin_metrics_lock_shards(kin_queue_metrics(queue)); shard;
       shard = shard->next)
    count++;
  kin_metrics_unlock_shards(kin_queue_metrics(queue));
  return count;
}

/* Copies the rows under the lock; the tables are made without it, as Lua may raise an error. */
static size_t copy_shards(kin_queue *queue, shard_row *rows, size_t capacity) {
  size_t count = 0;
  kin_shard_metrics *shard = kin_metrics_lock_shards(kin_queue_metrics(queue));
  for (; shard && count < capacity; shard = shard->next, count++) {
    shard_row *row = &rows[count];
    kin_slice_copy(kin_slice_of(shard->shard_id), row->shard_id, sizeof row->shard_id);
    row->stored = atomic_load(&shard->stored);
    row->stored_bytes = atomic_load(&shard->stored_bytes);
    row->throttled = atomic_load(&shard->throttled);
    row->records_rate = atomic_load(&shard->records_rate);
    row->bytes_rate = atomic_load(&shard->bytes_rate);
    row->share = atomic_load(&shard->share);
  }
  kin_metrics_unlock_shards(kin_queue_metrics(queue));
  return count;
}

static void push_shards(lua_State *L, kin_queue *queue) {
  size_t capacity = count_shards(queue);
  shard_row *rows = kin_lua_class_userdata(L, (capacity ? capacity : 1) * sizeof *rows);
  size_t count = copy_shards(queue, rows, capacity);
  lua_createtable(L, 0, (int)count);
  for (size_t i = 0; i < count; i++) {
    const shard_row *row = &rows[i];
    lua_createtable(L, 0, 6);
    set_count(L, "stored", row->stored);
    set_count(L, "stored_bytes", row->stored_bytes);
    set_count(L, "throttled", row->throttled);
    set_count(L, "records_rate", row->records_rate);
    set_count(L, "bytes_rate", row->bytes_rate);
    lua_pushnumber(L, (lua_Number)row->share / 1000);
    lua_setfield(L, -2, "share");
    lua_setfield(L, -2, row->shard_id);
  }
  lua_remove(L, -2);
}

static void push_causes(lua_State *L, kin_queue *queue) {
  kin_cause_count counts[KIN_CAUSES];
  size_t kinds = kin_causes_count(kin_queue_causes(queue), counts);
  lua_createtable(L, 0, (int)kinds);
  for (size_t i = 0; i < kinds; i++)
    set_count(L, counts[i].code, counts[i].count);
}

/* aggregation_off: why records are not aggregated; absent if they are. */
static void push_aggregation(lua_State *L, const kin_metrics *metrics) {
  static const char *const reasons[] = {NULL, "option", "service_managed", "unknown", "misplaced"};
  lua_pushstring(L, reasons[atomic_load(&metrics->aggregation)]);
  lua_setfield(L, -2, "aggregation_off");
}

void kin_lua_producer_stats_push(lua_State *L, kin_queue *queue, size_t unreported) {
  const kin_metrics *metrics = kin_queue_metrics(queue);
  kin_queue_counts counts = kin_queue_count(queue);
  lua_createtable(L, 0, 30);
  push_metrics(L, metrics);
  push_aggregation(L, metrics);
  set_count(L, "accepted", counts.accepted);
  set_count(L, "accepted_bytes", counts.accepted_bytes);
  set_count(L, "open", counts.open);
  set_count(L, "held_records", counts.held_records);
  set_count(L, "held_bytes", counts.held_bytes);
  set_count(L, "untold_failures", unreported);
  push_latency(L, metrics);
  lua_setfield(L, -2, "latency");
  push_causes(L, queue);
  lua_setfield(L, -2, "errors");
  push_shards(L, queue);
  lua_setfield(L, -2, "shards");
}
