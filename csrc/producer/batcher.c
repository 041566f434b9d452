#include <stdlib.h>

#include "producer/bisect.h"
#include "producer/internal.h"

/* What kin_batcher_publish calls its notice. */
static const char notice[] = "AggregationOff";

/* The KPL's; the explicit hash key selects the shard. */
static const kin_slice aggregate_key = {"a", 1};

static kin_aggregation why_not(const kin_producer *self) {
  const kin_shard_map *map = &self->map;
  if (self->options.aggregate == KIN_AGGREGATE_OFF)
    return KIN_AGGREGATION_NOT_WANTED;
  if (map->described && map->summary.service_managed)
    return KIN_AGGREGATION_SERVICE_MANAGED;
  if (!map->predicts || !(map->described || self->options.aggregate == KIN_AGGREGATE_FORCED))
    return KIN_AGGREGATION_UNKNOWN;
  return map->distrusted ? KIN_AGGREGATION_MISPLACED : KIN_AGGREGATION_ON;
}

bool kin_batcher_aggregates(const kin_producer *self) {
  const kin_shard_map *map = &self->map;
  if (map->asking > 0 || map->stale)
    return false; /* while the map may be outdated, an aggregate could be stored in a wrong shard */
  return why_not(self) == KIN_AGGREGATION_ON;
}

void kin_batcher_publish(kin_producer *self) {
  kin_aggregation before = atomic_load(&self->metrics->aggregation), now = why_not(self);
  kin_error error;
  atomic_store(&self->metrics->aggregation, now);
  if (now != KIN_AGGREGATION_MISPLACED || before == now)
    return;
  kin_error_clear(&error);
  kin_error_set(&error, KIN_OK, notice,
                "aggregates are stored in other shards than their hash keys belong to, and "
                "ListShards does not explain it; records are sent alone from now on, until the "
                "shards change");
  kin_queue_note_failure(self->queue, &error, 1, true);
}

/* ---- the records of an entry ---- */

typedef struct kin_cut {
  size_t count;       /* of records, the first ones of the shard queue */
  size_t bytes;       /* of the entry, as the service counts them; of an aggregate an upper bound */
  unsigned max_batch; /* the least of the records' */
} kin_cut;

static kin_cut cut_one(const kin_shard_queue *shard) {
  const kin_user_record *record = shard->waiting.first;
  return (kin_cut){1, kin_user_record_bytes(record), record->max_batch};
}

static kin_cut cut_entry(const kin_producer *self, const kin_shard_queue *shard, bool aggregates) {
  const kin_producer_options *options = &self->options;
  size_t max = self->map.summary.max_record_size;
  size_t limit = options->aggregate_bytes < max ? options->aggregate_bytes : max;
  kin_cut all = {0, KIN_AGGREGATE_FRAME + aggregate_key.len, 0};
  if (!aggregates || shard->disputed)
    return cut_one(shard);
  for (const kin_user_record *record = shard->waiting.first; record; record = record->next) {
    kin_put put = kin_user_record_put(record);
    size_t growth = kin_aggregate_growth(&put);
    unsigned max_batch = kin_bisect_least(all.max_batch, record->max_batch);
    if (all.count == options->aggregate_records || all.bytes + growth > limit ||
        !kin_bisect_allows(max_batch, all.count + 1) || record->alone)
      break;
    all.count++;
    all.bytes += growth;
    all.max_batch = max_batch;
  }
  return all.count > 1 ? all : cut_one(shard);
}

/* ---- the request ---- */

static void add_aggregate(kin_producer *self, const kin_batch_entry *entry, kin_buf *body) {
  char hash_key[KIN_HASH_TEXT];
  kin_buf_clear(&self->scratch.packed);
  if (!kin_aggregate_write(&self->scratch.aggregate, self->md5, &self->scratch.packed)) {
    body->failed = true;
    return;
  }
  size_t len = kin_hash_format(entry->records.first->hash, hash_key);
  kin_put put = {
      .data = kin_buf_slice(&self->scratch.packed),
      .partition_key = aggregate_key,
      .explicit_hash_key = {hash_key, len},
  };
  kin_put_records_add(body, &put);
}

/* Writes the entry into the request at once, while its records are in the processor's caches. */
static void write_entry(kin_producer *self, kin_batch *batch, kin_batch_entry *entry) {
  kin_buf *body = &batch->call->request.body;
  bool aggregates = entry->records.count > 1;
  kin_put_records_next(body);
  entry->receipts = false;
  kin_aggregate_clear(&self->scratch.aggregate);
  for (kin_user_record *record = entry->records.first; record; record = record->next) {
    kin_put put = kin_user_record_put(record);
    if (aggregates)
      kin_aggregate_add(&self->scratch.aggregate, &put);
    else
      kin_put_records_add(body, &put);
    entry->receipts = entry->receipts || record->stored;
    record->attempt_count++;
    batch->last_outcome_unknown += record->last_outcome_unknown;
  }
  kin_time accepted = entry->records.last->accepted;
  if (accepted > batch->newest)
    batch->newest = accepted;
  if (aggregates)
    add_aggregate(self, entry, body);
}

static kin_call *create_call(kin_producer *self, kin_batch *batch) {
  kin_call *call = kin_call_create("PutRecords", 1);
  if (!call)
    return NULL;
  call->request.machine = self->machine.id;
  call->target = self->options.data_target;
  call->request.context = batch;
  kin_put_records_open(&call->request.body, kin_slice_of(self->stream));
  return call;
}

/* ---- the entries of a batch ---- */

void kin_batcher_free(kin_producer *self, kin_batch *batch) {
  batch->next = self->free_batches;
  self->free_batches = batch;
}

/* An empty batch with its call; NULL when memory is out. */
static kin_batch *create_batch(kin_producer *self) {
  kin_batch *batch = self->free_batches;
  if (batch)
    self->free_batches = batch->next;
  else
    batch = malloc(sizeof *batch);
  if (!batch)
    return NULL;
  batch->count = batch->records = batch->bytes = batch->last_outcome_unknown = 0;
  batch->newest = 0;
  batch->max_batch = 0;
  batch->call = create_call(self, batch);
  if (batch->call)
    return batch;
  kin_batcher_free(self, batch);
  return NULL;
}

static void move(kin_record_list *from, size_t count, kin_record_list *to) {
  *to = (kin_record_list){0};
  while (count-- > 0)
    kin_record_list_add(to, kin_record_list_take(from));
}

/* Whether the batch has capacity for these records, and each record's max_batch allows it. */
static bool may_join(const kin_producer *self, const kin_batch *batch, const kin_cut *cut) {
  unsigned max_batch = kin_bisect_least(batch->max_batch, cut->max_batch);
  if (batch->count == 0)
    return true;
  if (!kin_bisect_allows(max_batch, batch->records + cut->count))
    return false;
  return batch->count < self->options.batch_records &&
         batch->bytes + cut->bytes <= self->options.batch_bytes;
}

/* Adds as many entries of one shard as its limiter allows. False: the batch is full. */
static bool pack_shard(kin_producer *self, kin_batch *batch, kin_shard_queue *shard,
                       bool aggregates, kin_time now) {
  while (shard->waiting.first) {
    kin_cut cut = cut_entry(self, shard, aggregates);
    if (!may_join(self, batch, &cut))
      return false;
    if (!kin_limiter_take(&shard->limiter, cut.bytes, now))
      return true;
    kin_batch_entry *entry = &batch->entries[batch->count++];
    entry->shard = shard;
    move(&shard->waiting, cut.count, &entry->records);
    batch->records += cut.count;
    batch->bytes += cut.bytes;
    batch->max_batch = kin_bisect_least(batch->max_batch, cut.max_batch);
    shard->in_flight++;
    write_entry(self, batch, entry);
    if (self->options.ordered)
      return true;
  }
  return true;
}

bool kin_batcher_has_plenty(const kin_producer *self) {
  const kin_shard_queues *shards = &self->shards;
  const kin_producer_options *options = &self->options;
  if (kin_batcher_aggregates(self))
    return shards->full_bytes_total >= 2 * options->batch_bytes;
  return shards->records >= 2 * options->batch_records || shards->bytes >= 2 * options->batch_bytes;
}

static bool is_full(const kin_producer *self, bool aggregates) {
  const kin_shard_queues *shards = &self->shards;
  const kin_producer_options *options = &self->options;
  if (aggregates)
    return shards->full >= options->batch_records ||
           shards->full_bytes_total >= options->batch_bytes;
  return shards->records >= options->batch_records || shards->bytes >= options->batch_bytes;
}

/* Adds entries of each open shard in turn. Unless `all`, shards that have just begun to linger are
 * left out of a batch that is due because of other shards. */
static void pack(kin_producer *self, kin_batch *batch, bool all, bool aggregates, kin_time now) {
  kin_shard_queues *shards = &self->shards;
  bool has_capacity = true;
  for (size_t turns = shards->open_count; turns > 0 && has_capacity; turns--) {
    kin_shard_queue *shard = kin_shard_queues_next(shards);
    if (all || kin_shard_queues_ready(shards, shard, now))
      has_capacity = pack_shard(self, batch, shard, aggregates, now);
    kin_shard_queues_return(shards, shard, now);
  }
  if (has_capacity)
    shards->due = false;
}

static void count_batch(kin_producer *self, const kin_batch *batch, bool full) {
  kin_metrics *metrics = self->metrics;
  bool flushed = batch->entries[0].records.first->serial <= self->shards.flush_serial;
  kin_count(full      ? &metrics->full_batches
            : flushed ? &metrics->flushed_batches
                      : &metrics->due_batches,
            1);
}

/* Completes the request, or frees it if memory was out. The call may wait for credentials or a
 * connection until the newest of its records expires. */
static void finish_call(const kin_producer *self, kin_batch *batch) {
  kin_call *call = batch->call;
  kin_put_records_close(&call->request.body);
  call->request.start_deadline = kin_time_after(batch->newest, self->options.ttl);
  if (!call->request.body.failed && batch->count > 0)
    return;
  kin_message_free(&call->request.message);
  batch->call = NULL;
}

kin_batch *kin_batcher_next(kin_producer *self, kin_time now) {
  bool aggregates = kin_batcher_aggregates(self);
  bool full = is_full(self, aggregates);
  if ((!full && !self->shards.due) || self->shards.open_count == 0)
    return NULL;
  kin_batch *batch = create_batch(self);
  if (!batch) {
    self->backoff_until = now + KIN_OUT_OF_MEMORY_BACKOFF;
    return NULL;
  }
  pack(self, batch, full && !aggregates, aggregates, now);
  finish_call(self, batch);
  if (batch->count > 0) {
    count_batch(self, batch, full);
    return batch;
  }
  kin_batcher_free(self, batch);
  return NULL;
}

void kin_batcher_unpack(kin_producer *self, kin_batch *batch, kin_record_list *records) {
  for (size_t i = 0; i < batch->count; i++) {
    kin_batch_entry *entry = &batch->entries[i];
    kin_record_list_merge(records, &entry->records);
  }
  kin_batcher_free(self, batch);
}
