#include "lua/outcomes.h"

#include <stdio.h>

#include "lua/handle.h"

#define RECEIPT "kinesis.receipt"

typedef struct receipt {
  kin_lua_handle handle;  /* first */
  kin_queue *queue;       /* counted; NULL once closed */
  kin_record_list record; /* none, or the one */
  kin_time ttl;
} receipt;

static void drop_record(receipt *r) {
  kin_user_record *record = kin_record_list_take(&r->record);
  if (record)
    kin_queue_free_record(r->queue, record);
}

/* Nobody has looked at it: if it failed it is to be told like one that has no receipt. */
static void give_back(receipt *r) {
  const kin_user_record *record = r->record.first;
  if (record && record->outcome != KIN_RECORD_STORED)
    kin_queue_return(r->queue, kin_record_list_take(&r->record));
  else
    drop_record(r);
}

static int close_receipt(lua_State *L) {
  receipt *r = luaL_checkudata(L, 1, RECEIPT);
  if (r->queue && !kin_engine_forked(r->handle.engine)) {
    give_back(r);
    kin_queue_release(r->queue);
  }
  r->queue = NULL;
  kin_lua_handle_close(&r->handle);
  return 0;
}

uint64_t kin_lua_receipt_push(lua_State *L, kin_engine *engine, kin_queue *queue, kin_time ttl) {
  receipt *r = (receipt *)kin_lua_handle_create(L, sizeof *r, RECEIPT, engine);
  r->queue = kin_queue_hold(queue);
  r->ttl = ttl;
  return r->handle.id;
}

kin_record_list *kin_lua_receipt_list(lua_State *L, uint64_t id) {
  receipt *r = id == 0 ? NULL : (receipt *)kin_lua_handle_find(L, id);
  return r && r->queue ? &r->record : NULL;
}

/* ---- attempts ---- */

static void push_times(lua_State *L, kin_time at, kin_time duration) {
  lua_createtable(L, 0, 5);
  lua_pushnumber(L, (lua_Number)at / (lua_Number)KIN_SECOND);
  lua_setfield(L, -2, "at");
  lua_pushnumber(L, (lua_Number)duration / (lua_Number)KIN_SECOND);
  lua_setfield(L, -2, "duration");
}

static void push_attempt(lua_State *L, const kin_attempt *attempt) {
  push_times(L, attempt->at, attempt->duration);
  kin_lua_set_slice(L, "code", kin_slice_of(attempt->code));
  kin_lua_set_slice(L, "message", kin_slice_of(attempt->message));
  kin_lua_set_slice(L, "request_id", kin_slice_of(attempt->request_id));
}

/* In the order in which they were made. What never left may have a reason, but no attempt. */
static void push_attempts(lua_State *L, const kin_user_record *record) {
  const kin_attempt *attempt = record->tries > 0 ? record->attempts : NULL;
  const kin_stored *stored = record->outcome == KIN_RECORD_STORED ? record->stored : NULL;
  int count = attempt ? (int)attempt->depth + 1 : 0;
  lua_createtable(L, count + (stored ? 1 : 0), 0);
  if (stored) {
    push_times(L, stored->at, stored->duration);
    lua_rawseti(L, -2, count + 1);
  }
  for (int i = count; attempt; attempt = attempt->before) {
    push_attempt(L, attempt);
    lua_rawseti(L, -2, i--);
  }
}

/* ---- outcomes ---- */

void kin_lua_push_lost_record(lua_State *L, const kin_user_record *record) {
  kin_put put = kin_user_record_put(record);
  lua_createtable(L, 0, 3);
  lua_pushlstring(L, put.data.at, put.data.len);
  lua_setfield(L, -2, "data");
  kin_lua_set_slice(L, "partition_key", put.partition_key);
  kin_lua_set_slice(L, "explicit_hash_key", put.explicit_hash_key);
}

static void describe_outcome(const kin_user_record *record, kin_time ttl, kin_error *error) {
  const kin_attempt *last = record->attempts;
  char trouble[200] = "";
  if (last)
    snprintf(trouble, sizeof trouble, "; %s: %.63s: %.80s",
             record->tries > 0 ? "the last attempt" : "why it did not leave", last->code,
             last->message);
  if (record->outcome == KIN_RECORD_EXPIRED) {
    kin_error_set(error, KIN_FATAL, KIN_CODE_EXPIRED, "not stored within %g s, in %u attempts%s",
                  (double)ttl / (double)KIN_SECOND, record->tries, trouble);
  } else if (record->outcome == KIN_RECORD_CLOSED) {
    kin_error_set(
        error, KIN_FATAL, KIN_CODE_CLOSED, "the producer was closed before it was stored%s%s",
        record->maybe_stored ? "; an attempt whose outcome is unknown may have stored it" : "",
        trouble);
  } else if (last) {
    error->status = last->status;
    kin_slice_copy(kin_slice_of(last->request_id), error->request_id, sizeof error->request_id);
    kin_error_set(error, last->class, last->code, "%s", last->message);
  } else {
    kin_error_set(error, KIN_FATAL, KIN_CODE_CONNECTION, "out of memory while sending it");
  }
}

void kin_lua_push_outcome(lua_State *L, const kin_user_record *record, kin_time ttl) {
  kin_error error;
  kin_error_clear(&error);
  kin_slice_copy(KIN_SLICE("PutRecords"), error.operation, sizeof error.operation);
  describe_outcome(record, ttl, &error);
  kin_lua_push_error(L, &error);
  push_attempts(L, record);
  lua_setfield(L, -2, "attempts");
}

static void push_stored(lua_State *L, const kin_user_record *record) {
  const kin_stored *stored = record->stored;
  lua_createtable(L, 0, 3);
  kin_lua_set_slice(L, "shard_id", kin_slice_of(stored->shard_id));
  kin_lua_set_slice(L, "sequence_number", kin_slice_of(stored->sequence_number));
  push_attempts(L, record);
  lua_setfield(L, -2, "attempts");
  luaL_getmetatable(L, KIN_RESULT_META);
  lua_setmetatable(L, -2);
}

/* receipt:answer() -> false: not yet | true, result | nil, err. Given once. */
static int answer(lua_State *L) {
  receipt *r = luaL_checkudata(L, 1, RECEIPT);
  const kin_user_record *record = r->record.first;
  bool forked = r->handle.engine && kin_engine_forked(r->handle.engine);
  if (forked || !r->queue)
    return kin_lua_engine_push_gone(L, r->handle.engine, "PutRecords");
  if (!record) {
    lua_pushboolean(L, 0);
    return 1;
  }
  if (record->outcome == KIN_RECORD_STORED) {
    lua_pushboolean(L, 1);
    push_stored(L, record);
  } else {
    lua_pushnil(L);
    kin_lua_push_outcome(L, record, r->ttl);
  }
  drop_record(r);
  return 2;
}

static int id(lua_State *L) {
  return kin_lua_handle_id(L, luaL_checkudata(L, 1, RECEIPT));
}

void kin_lua_receipt_open(lua_State *L) {
  static const luaL_Reg methods[] = {{"answer", answer}, {"id", id}, {NULL, NULL}};
  kin_lua_new_class(L, RECEIPT, methods, close_receipt);
}

/* ---- counts ---- */

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

/* {[seconds] = how many were stored within it}, as a list of {le=, count=}, and the sum. */
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
  char shard_id[KIN_SHARD_ID_MAX + 1];
  uint64_t stored, stored_bytes, throttled, records_rate, bytes_rate, share;
} shard_row;

static size_t count_shards(kin_queue *queue) {
  size_t count = 0;
  for (kin_shard_metrics *shard = kin_queue_lock_shards(queue); shard; shard = shard->next)
    count++;
  kin_queue_unlock_shards(queue);
  return count;
}

/* Copied under the lock, made into tables without it: Lua may raise. */
static size_t copy_shards(kin_queue *queue, shard_row *rows, size_t room) {
  size_t count = 0;
  kin_shard_metrics *shard = kin_queue_lock_shards(queue);
  for (; shard && count < room; shard = shard->next, count++) {
    shard_row *row = &rows[count];
    kin_slice_copy(kin_slice_of(shard->shard_id), row->shard_id, sizeof row->shard_id);
    row->stored = atomic_load(&shard->stored);
    row->stored_bytes = atomic_load(&shard->stored_bytes);
    row->throttled = atomic_load(&shard->throttled);
    row->records_rate = atomic_load(&shard->records_rate);
    row->bytes_rate = atomic_load(&shard->bytes_rate);
    row->share = atomic_load(&shard->share);
  }
  kin_queue_unlock_shards(queue);
  return count;
}

static void push_shards(lua_State *L, kin_queue *queue) {
  size_t room = count_shards(queue);
  shard_row *rows = kin_lua_new_userdata(L, (room ? room : 1) * sizeof *rows);
  size_t count = copy_shards(queue, rows, room);
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

void kin_lua_push_producer_stats(lua_State *L, kin_queue *queue, size_t untold) {
  const kin_metrics *metrics = kin_queue_metrics(queue);
  kin_queue_counts counts = kin_queue_count(queue);
  lua_createtable(L, 0, 29);
  push_metrics(L, metrics);
  set_count(L, "accepted", counts.accepted);
  set_count(L, "accepted_bytes", counts.accepted_bytes);
  set_count(L, "open", counts.open);
  set_count(L, "held_records", counts.held_records);
  set_count(L, "held_bytes", counts.held);
  set_count(L, "untold_failures", untold);
  push_latency(L, metrics);
  lua_setfield(L, -2, "latency");
  push_causes(L, queue);
  lua_setfield(L, -2, "errors");
  push_shards(L, queue);
  lua_setfield(L, -2, "shards");
}
