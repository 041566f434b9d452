/* routing: adds each record to the queue of the shard that `find_shard` predicts. Records that are
 * sent again come back by kin_routing_retry. */
#include "producer/internal.h"

/* Records that are taken from the queue in one step: so many stay in the processor's caches until
 * they are sent. PREFETCH: how many records ahead memory is prefetched. */
enum { TAKEN_AT_ONCE = 1024, PREFETCH = 6 };

static bool is_too_large(kin_producer *self, kin_user_record *record) {
  size_t max = self->map.described ? self->map.summary.max_record_size : 0;
  size_t bytes = kin_user_record_bytes(record);
  if (max == 0 || bytes <= max)
    return false;
  kin_completion_reject(self, record, "InvalidArgumentException",
                        "data and partition key are %zu bytes; the stream takes at most %zu", bytes,
                        max);
  return true;
}

bool kin_routing_is_expired(const kin_producer *self, const kin_user_record *record, kin_time now) {
  return kin_time_after(record->accepted, self->options.ttl) <= now;
}

static void hash_record(kin_producer *self, kin_user_record *record) {
  kin_put put = kin_user_record_put(record);
  record->hashed = true;
  if (put.explicit_hash_key.len == 0 || !kin_hash_parse(put.explicit_hash_key, &record->hash))
    kin_hash_key(self->md5, put.partition_key, &record->hash);
}

static kin_shard_queue *find_shard(kin_producer *self, kin_user_record *record) {
  if (!self->map.predicts)
    return self->map.shards[0];
  if (!record->hashed)
    hash_record(self, record);
  return kin_shard_map_find(&self->map, record->hash);
}

/* Consecutive records of one shard, which are added to its queue together. */
typedef struct kin_run {
  kin_shard_queue *shard;
  kin_record_list records;
  kin_record_list expired; /* of all shards */
} kin_run;

static void end_run(kin_producer *self, kin_run *run, kin_time now) {
  if (run->records.first)
    kin_shard_queues_add(&self->shards, run->shard, &run->records, now);
}

static void end_last_run(kin_producer *self, kin_run *run, kin_time now) {
  end_run(self, run, now);
  kin_completion_expire(self, &run->expired);
}

static void route_one(kin_producer *self, kin_user_record *record, kin_run *run, kin_time now) {
  if (kin_routing_is_expired(self, record, now)) {
    kin_record_list_add(&run->expired, record);
    return;
  }
  if (record->attempt_count == 0 && is_too_large(self, record))
    return;
  kin_shard_queue *shard = find_shard(self, record);
  if (shard != run->shard)
    end_run(self, run, now);
  run->shard = shard;
  kin_record_list_add(&run->records, record);
}

static void route(kin_producer *self, kin_record_list *records, kin_time now) {
  kin_run run = {0};
  kin_user_record *record;
  while ((record = kin_record_list_take(records)))
    route_one(self, record, &run, now);
  end_last_run(self, &run, now);
}

/* An ordered producer routes no record by a new map before all requests of the old one are
 * complete. */
static void route_unrouted(kin_producer *self, kin_time now) {
  if (self->in_flight == 0)
    self->barrier = false;
  if (self->map.ready && !self->barrier)
    route(self, &self->unrouted, now);
}

/* The Lua thread wrote the record, perhaps long ago. */
static void prefetch(const kin_user_record *record) {
  const char *at = (const char *)record;
  for (size_t i = 0; i < 4; i++)
    __builtin_prefetch(at + i * KIN_RECORD_STEP);
}

static bool may_route(const kin_producer *self) {
  return self->map.ready && !self->barrier && !self->unrouted.first;
}

/* Takes TAKEN_AT_ONCE records from the queue. True: some are left, for which no message comes. */
static bool take_some(kin_producer *self, kin_time now) {
  kin_user_record *records[TAKEN_AT_ONCE];
  kin_run run = {0};
  size_t left, count = kin_queue_take(self->queue, records, TAKEN_AT_ONCE, &left);
  bool routes = may_route(self);
  for (size_t i = 0; i < count; i++) {
    if (i + PREFETCH < count)
      prefetch(records[i + PREFETCH]);
    self->last_serial = records[i]->serial;
    self->open++;
    if (routes)
      route_one(self, records[i], &run, now);
    else
      kin_record_list_add(&self->unrouted, records[i]);
  }
  end_last_run(self, &run, now);
  return left > 0;
}

void kin_routing_take_all(kin_producer *self, kin_time now) {
  while (take_some(self, now))
    continue;
}

kin_time kin_routing_take_due(kin_producer *self, kin_time now) {
  kin_queue_view view = kin_queue_inspect(self->queue);
  if (view.was_full || view.flushes > 0) {
    kin_routing_take_all(self, now);
    kin_shard_queues_flush(&self->shards, self->last_serial);
    kin_flushes_begin(&self->flushes, view.flushes, self->last_serial, self->open);
    return KIN_NEVER;
  }
  if (view.count == 0)
    return KIN_NEVER;
  if (!view.has_batch && view.oldest + self->options.linger > now)
    return view.oldest + self->options.linger;
  if (self->in_flight >= self->options.parallel && kin_batcher_has_plenty(self)) {
    kin_queue_note_blocked(self->queue);
    return kin_time_after(view.oldest, self->options.ttl);
  }
  return take_some(self, now) ? now : KIN_NEVER;
}

void kin_routing_retry(kin_producer *self, kin_time now) {
  kin_record_list_merge(&self->unrouted, &self->retries);
  route_unrouted(self, now);
}
