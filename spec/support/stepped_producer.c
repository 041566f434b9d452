/* stepped_producer: a producer of a stepped engine.
 *
 *   producer = engine:producer{stream=, linger=, …}   the fields of kin_producer_options
 *   producer:put(data, key, hash_key, {receipt=, random=})   "taken", "behind", "full", "closed", …
 *   producer:is_behind()
 *   producer:flush()         a mark for producer:flushed(mark)
 *   producer:collect()       list of {data=, key=, outcome=, tries=, maybe_stored=, shard_id=,
 *                            attempts=}
 *   producer:stats()         counts
 *   producer:notice()        the code and count of the next cause to report
 *   producer:remove()        ends the machine */
#include "engine/retry.h"
#include "producer/attempt.h"
#include "producer/producer.h"
#include "stepped.h"

#define PRODUCER "stepped.producer"

typedef struct producer {
  kin_engine *engine; /* counted */
  kin_queue *queue;   /* counted */
  uint64_t id;
} producer;

static producer *check(lua_State *L) {
  return luaL_checkudata(L, 1, PRODUCER);
}

static int close_producer(lua_State *L) {
  producer *p = check(L);
  if (!p->queue)
    return 0;
  kin_queue_release(p->queue);
  kin_engine_release(p->engine);
  p->queue = NULL;
  return 0;
}

static kin_time seconds(lua_State *L, const char *field, double otherwise) {
  return kin_seconds(stepped_number(L, 2, field, otherwise));
}

static size_t size(lua_State *L, const char *field, double otherwise) {
  return (size_t)stepped_number(L, 2, field, otherwise);
}

int stepped_producer(lua_State *L) {
  kin_engine *engine = stepped_engine(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  kin_slice stream = stepped_text(L, 2, "stream");
  kin_producer_options options = {
      .stream = stream.at ? stream : KIN_SLICE("stream"),
      .linger = seconds(L, "linger", 0.1),
      .ttl = seconds(L, "ttl", 1e15),
      .batch_records = size(L, "batch_records", 500),
      .batch_bytes = size(L, "batch_bytes", 1 << 19),
      .aggregate = (kin_aggregate_mode)stepped_number(L, 2, "aggregate", KIN_AGGREGATE_SAFE),
      .aggregate_bytes = size(L, "aggregate_bytes", 51200),
      .aggregate_records = size(L, "aggregate_records", 4294967295.0),
      .parallel = (unsigned)stepped_number(L, 2, "parallel", 8),
      .unknown_attempts = (unsigned)stepped_number(L, 2, "unknown_attempts", KIN_UNKNOWN_ATTEMPTS),
      .rate_limit = stepped_number(L, 2, "rate_limit", 1),
      .ordered = stepped_boolean(L, 2, "ordered"),
      .rerandomize_keys = stepped_boolean(L, 2, "rerandomize_keys"),
  };
  kin_queue_options queue = {
      .max_records = size(L, "max_records", 100000),
      .max_bytes = size(L, "max_bytes", 16 << 20),
      .batch_records = options.batch_records,
      .batch_bytes = options.batch_bytes,
  };
  producer *p = lua_newuserdatauv(L, sizeof *p, 0);
  *p = (producer){.id = kin_engine_id()};
  luaL_getmetatable(L, PRODUCER);
  lua_setmetatable(L, -2);
  p->queue = kin_queue_create(engine, p->id, &queue);
  if (!p->queue)
    return luaL_error(L, "out of memory");
  kin_engine_hold(engine);
  p->engine = engine;
  if (!kin_producer_start(engine, p->id, p->queue, &options))
    return luaL_error(L, "no producer: out of memory");
  return 1;
}

/* producer:put(data, key, hash_key, {receipt=, random=}) */
static int put(lua_State *L) {
  static const char *const answers[] = {"taken",  "behind",    "full",
                                        "closed", "too large", "no memory"};
  producer *p = check(L);
  kin_queue_record entry = {0};
  entry.put.data.at = luaL_checklstring(L, 2, &entry.put.data.len);
  entry.put.partition_key.at = luaL_checklstring(L, 3, &entry.put.partition_key.len);
  if (!lua_isnoneornil(L, 4))
    entry.put.explicit_hash_key.at = luaL_checklstring(L, 4, &entry.put.explicit_hash_key.len);
  if (lua_istable(L, 5)) {
    entry.receipt = stepped_boolean(L, 5, "receipt") ? kin_engine_id() : 0;
    entry.random_key = stepped_boolean(L, 5, "random");
  }
  lua_pushstring(L, answers[kin_queue_add(p->queue, &entry)]);
  return 1;
}

static void set_number(lua_State *L, const char *field, double number) {
  lua_pushnumber(L, number);
  lua_setfield(L, -2, field);
}

/* Each with the bytes it takes; records that share an attempt see the same `identity`. */
static void push_attempts(lua_State *L, const kin_attempt *last) {
  lua_newtable(L);
  for (int i = last ? (int)last->depth + 1 : 0; last; last = last->before, i--) {
    lua_newtable(L);
    stepped_set_text(L, "code", kin_slice_of(last->code));
    stepped_set_text(L, "message", kin_slice_of(last->message));
    set_number(L, "at", (double)last->at / (double)KIN_SECOND);
    set_number(L, "duration", (double)last->duration / (double)KIN_SECOND);
    lua_pushlightuserdata(L, (void *)last);
    lua_setfield(L, -2, "identity");
    set_number(L, "size", (double)(sizeof *last + strlen(last->message) + 1));
    lua_rawseti(L, -2, i);
  }
  lua_setfield(L, -2, "attempts");
}

static void push_record(lua_State *L, const kin_user_record *record) {
  static const char *const outcomes[] = {"stored", "failed", "expired", "closed"};
  kin_put entry = kin_user_record_put(record);
  lua_createtable(L, 0, 8);
  stepped_set_text(L, "data", entry.data);
  stepped_set_text(L, "key", entry.partition_key);
  stepped_set_text(L, "outcome", kin_slice_of(outcomes[record->outcome]));
  if (record->stored) {
    stepped_set_text(L, "shard_id", kin_slice_of(record->stored->shard_id));
    stepped_set_text(L, "sequence_number", kin_slice_of(record->stored->sequence_number));
  }
  lua_pushinteger(L, record->attempt_count);
  lua_setfield(L, -2, "tries");
  lua_pushboolean(L, record->maybe_stored);
  lua_setfield(L, -2, "maybe_stored");
  push_attempts(L, record->attempts);
}

static int is_behind(lua_State *L) {
  lua_pushboolean(L, kin_queue_is_behind(check(L)->queue));
  return 1;
}

static int collect(lua_State *L) {
  producer *p = check(L);
  kin_record_list list = {0};
  int count = 0;
  lua_newtable(L);
  kin_queue_collect(p->queue, &list);
  for (kin_user_record *record; (record = kin_record_list_take(&list));) {
    push_record(L, record);
    lua_rawseti(L, -2, ++count);
    kin_queue_free_record(p->queue, record);
  }
  return 1;
}

static int flush(lua_State *L) {
  lua_pushnumber(L, (lua_Number)kin_queue_flush(check(L)->queue));
  return 1;
}

static int flushed(lua_State *L) {
  lua_pushboolean(L, kin_queue_flushed(check(L)->queue, (uint64_t)luaL_checknumber(L, 2)));
  return 1;
}

/* The code of the next cause that the user is to be notified of, and its count. */
static int notice(lua_State *L) {
  kin_error error;
  uint64_t count = kin_causes_next(kin_queue_causes(check(L)->queue), true, &error);
  if (count == 0)
    return 0;
  lua_pushstring(L, error.code);
  lua_pushinteger(L, (lua_Integer)count);
  return 2;
}

static int remove_machine(lua_State *L) {
  producer *p = check(L);
  kin_engine_post_plain(p->engine, KIN_MESSAGE_REMOVE, p->id);
  return 0;
}

static void set_count(lua_State *L, const char *field, uint64_t count) {
  lua_pushinteger(L, (lua_Integer)count);
  lua_setfield(L, -2, field);
}

static int stats(lua_State *L) {
  producer *p = check(L);
  const kin_metrics *metrics = kin_queue_metrics(p->queue);
  kin_queue_counts counts = kin_queue_count(p->queue);
  lua_newtable(L);
  set_count(L, "accepted", counts.accepted);
  set_count(L, "open", counts.open);
  set_count(L, "held", counts.held_bytes);
  set_count(L, "held_records", counts.held_records);
  set_count(L, "stored", metrics->stored);
  set_count(L, "failed", metrics->failed);
  set_count(L, "expired", metrics->expired);
  set_count(L, "returned", metrics->returned);
  set_count(L, "retried", metrics->retried);
  set_count(L, "throttled", metrics->throttled);
  set_count(L, "possible_duplicates", metrics->possible_duplicates);
  set_count(L, "misplaced", metrics->misplaced_records);
  set_count(L, "aggregation", metrics->aggregation);
  set_count(L, "requests", metrics->requests);
  set_count(L, "entries", metrics->entries);
  set_count(L, "in_flight", metrics->in_flight);
  set_count(L, "map_refreshes", metrics->map_refreshes);
  lua_newtable(L); /* errors: failed attempts by code */
  kin_cause_count causes[KIN_CAUSES];
  size_t kinds = kin_causes_count(kin_queue_causes(p->queue), causes);
  for (size_t i = 0; i < kinds; i++)
    set_count(L, causes[i].code, causes[i].count);
  lua_setfield(L, -2, "errors");
  lua_newtable(L); /* shards: entries stored in each; rates: records per second */
  lua_newtable(L);
  for (kin_shard_metrics *shard = kin_metrics_lock_shards(kin_queue_metrics(p->queue)); shard;
       shard = shard->next) {
    set_count(L, shard->shard_id, shard->records_rate);
    lua_pushinteger(L, (lua_Integer)shard->stored);
    lua_setfield(L, -3, shard->shard_id);
  }
  kin_metrics_unlock_shards(kin_queue_metrics(p->queue));
  lua_setfield(L, -3, "rates");
  lua_setfield(L, -2, "shards");
  return 1;
}

void stepped_producer_open(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"put", put},
      {"is_behind", is_behind},
      {"collect", collect},
      {"flush", flush},
      {"flushed", flushed},
      {"remove", remove_machine},
      {"notice", notice},
      {"stats", stats},
      {"close", close_producer},
      {"__gc", close_producer},
      {NULL, NULL},
  };
  luaL_newmetatable(L, PRODUCER);
  for (const luaL_Reg *method = methods; method->name; method++) {
    lua_pushcfunction(L, method->func);
    lua_setfield(L, -2, method->name);
  }
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}
