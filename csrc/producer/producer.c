#include "producer/producer.h"

#include <stdlib.h>

#include "producer/internal.h"

/* Records that are taken from the queue in one step: so many stay in the caches until they are
 * sent, when there are more than can be sent. */
enum { TAKEN_AT_ONCE = 1024, AHEAD = 6 };

/* ---- records find their shards ---- */

static bool is_too_large(kin_producer *self, kin_user_record *record) {
  size_t most = self->map.described ? self->map.summary.max_record_size : 0;
  size_t bytes = kin_user_record_bytes(record);
  if (most == 0 || bytes <= most)
    return false;
  kin_completion_reject(self, record, "InvalidArgumentException",
                        "data and partition key are %zu bytes; the stream takes at most %zu", bytes,
                        most);
  return true;
}

static bool is_expired(const kin_producer *self, const kin_user_record *record, kin_time now) {
  return kin_time_after(record->accepted, self->options.ttl) <= now;
}

static void find_hash(kin_producer *self, kin_user_record *record) {
  kin_put put = kin_user_record_put(record);
  record->hashed = true;
  if (put.explicit_hash_key.len == 0 || !kin_hash_parse(put.explicit_hash_key, &record->hash))
    kin_hash_key(self->md5, put.partition_key, &record->hash);
}

static kin_shard_queue *find_shard(kin_producer *self, kin_user_record *record) {
  if (!self->map.predicts)
    return self->map.shards[0];
  if (!record->hashed)
    find_hash(self, record);
  return kin_shard_map_find(&self->map, record->hash);
}

/* The records of one shard, as they come: neighbours that go to the same one go max_batch. */
typedef struct kin_run {
  kin_shard_queue *shard;
  kin_record_list records;
} kin_run;

static void end_run(kin_producer *self, kin_run *run, kin_time now) {
  if (run->records.first)
    kin_shard_queues_add(&self->shards, run->shard, &run->records, now);
}

static void route_one(kin_producer *self, kin_user_record *record, kin_run *run, kin_time now) {
  if (is_expired(self, record, now)) {
    kin_flush_complete(self, record, KIN_RECORD_EXPIRED);
    return;
  }
  if (record->tries == 0 && is_too_large(self, record))
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
  end_run(self, &run, now);
}

/* In ordered producers nothing is routed by a new map before what left by the old one has landed.
 */
static void route_waiting(kin_producer *self, kin_time now) {
  if (self->in_flight == 0)
    self->barrier = false;
  if (self->map.ready && !self->barrier)
    route(self, &self->unrouted, now);
}

/* They were put down long ago, by another thread. */
static void fetch_ahead(const kin_user_record *record) {
  const char *at = (const char *)record;
  for (size_t i = 0; i < 4; i++)
    __builtin_prefetch(at + i * KIN_RECORD_STEP);
}

static bool may_route(const kin_producer *self) {
  return self->map.ready && !self->barrier && !self->unrouted.first;
}

/* At most as many as stay in the caches until they are sent. True: some are left, of which nobody
 * tells any more. */
static bool take_some(kin_producer *self, kin_time now) {
  kin_user_record *records[TAKEN_AT_ONCE];
  kin_run run = {0};
  size_t left, count = kin_queue_take(self->queue, records, TAKEN_AT_ONCE, &left);
  bool routes = may_route(self);
  for (size_t i = 0; i < count; i++) {
    if (i + AHEAD < count)
      fetch_ahead(records[i + AHEAD]);
    self->last_serial = records[i]->serial;
    self->open++;
    if (routes)
      route_one(self, records[i], &run, now);
    else
      kin_record_list_add(&self->unrouted, records[i]);
  }
  end_run(self, &run, now);
  return left > 0;
}

static void take_all(kin_producer *self, kin_time now) {
  while (take_some(self, now))
    continue;
}

/* Takes from the queue what is due there; returns when to look again. */
static kin_time look_at_queue(kin_producer *self, kin_time now) {
  kin_queue_view view = kin_queue_look(self->queue);
  if (view.refused || view.flushes > 0) {
    take_all(self, now);
    kin_flush_begin(self, view.flushes);
    return KIN_NEVER;
  }
  if (view.count == 0)
    return KIN_NEVER;
  if (!view.eager && view.oldest + self->options.linger > now)
    return view.oldest + self->options.linger;
  if (self->in_flight >= self->options.parallel && kin_batcher_has_plenty(self)) {
    kin_queue_rest(self->queue);
    return kin_time_after(view.oldest, self->options.ttl);
  }
  return take_some(self, now) ? now : KIN_NEVER;
}

/* ---- sending ---- */

static void come_back(kin_producer *self, kin_record_list *again, kin_time now) {
  kin_record_list_merge(&self->unrouted, again);
  route_waiting(self, now);
}

static void note_departure(kin_producer *self, kin_batch *batch) {
  kin_metrics *metrics = self->metrics;
  kin_count(&metrics->requests, 1);
  kin_count(&metrics->entries, batch->count);
  kin_count(&metrics->in_flight, batch->records);
  kin_count(&metrics->possible_duplicates, batch->last_outcome_unknown);
  batch->next = self->under_way;
  self->under_way = batch;
  self->in_flight++;
}

static bool read_answer(kin_call *call) {
  kin_batch *batch = call->request.context;
  kin_buf *answer = &call->request.exchange.answer;
  kin_slice encryption;
  return kin_put_records_read(answer->at, answer->len, batch->results, batch->count, &encryption);
}

/* There was no memory for the request: all as it was, a little later. */
static void put_back(kin_producer *self, kin_batch *batch, kin_time now) {
  kin_record_list again = {0};
  for (size_t i = 0; i < batch->count; i++) {
    kin_shard_queue *shard = batch->entries[i].shard;
    shard->in_flight--;
    kin_shard_queues_look_again(&self->shards, shard,
                                now); /* its records may not all come back to it */
  }
  kin_batcher_unpack(self, batch, &again);
  for (kin_user_record *record = again.first; record; record = record->next)
    record->tries--;
  self->rest_until = now + KIN_OUT_OF_MEMORY_REST;
  come_back(self, &again, now);
}

static bool may_send(const kin_producer *self, kin_time now) {
  unsigned parallel = self->failures > 0 ? 1 : self->options.parallel;
  if (self->options.ordered && self->misplaced)
    return false; /* they may have to go again, before what came behind them */
  return self->map.ready && !self->barrier && self->in_flight < parallel && now >= self->rest_until;
}

static void send(kin_producer *self, kin_time now) {
  kin_batch *batch;
  while (may_send(self, now) && (batch = kin_batcher_next(self, now))) {
    kin_call *call = batch->call;
    if (!call) {
      put_back(self, batch, now);
      return;
    }
    call->read = read_answer;
    note_departure(self, batch);
    kin_engine_send(self->machine.engine, &call->request);
  }
}

/* ---- answers ---- */

static void take_batch(kin_producer *self, kin_call *call, kin_time now) {
  kin_record_list again = {0};
  kin_batch *batch = call->request.context, **link = &self->under_way;
  while (*link != batch)
    link = &(*link)->next;
  *link = batch->next;
  self->in_flight--;
  kin_completion_take(self, call, &again, now);
  batch->next = self->spare;
  self->spare = batch;
  come_back(self, &again, now);
}

static void take_map(kin_producer *self, kin_call *call, kin_time now) {
  kin_record_list again = {0};
  bool first = !self->map.ready;
  if (!kin_shard_map_receive(&self->map, &self->machine, call, &self->shards, &again, now))
    return;
  self->barrier = self->options.ordered && !first && self->in_flight > 0;
  kin_misplaced_resolve(self, &again, now);
  come_back(self, &again, now);
}

static void receive(kin_machine *machine, kin_message *message) {
  kin_producer *self = (kin_producer *)machine;
  kin_clock *clock = kin_engine_clock(machine->engine);
  kin_time now = clock->monotonic(clock);
  if (message->kind == KIN_MESSAGE_ANSWER) {
    kin_call *call = (kin_call *)message;
    if (kin_shard_map_owns(&self->map, call))
      take_map(self, call, now);
    else
      take_batch(self, call, now);
  }
  kin_message_free(message);
}

/* ---- the step ---- */

/* Those that wait for the map, of which it may be known why it does not come. */
static void expire_unrouted(kin_producer *self, kin_time now) {
  kin_record_list expired = {0};
  kin_user_record *record;
  while (self->unrouted.first && is_expired(self, self->unrouted.first, now))
    kin_record_list_add(&expired, kin_record_list_take(&self->unrouted));
  kin_completion_note_cause(self, &expired, &self->map.trouble);
  while ((record = kin_record_list_take(&expired)))
    kin_flush_complete(self, record, KIN_RECORD_EXPIRED);
}

static void wake_shards(kin_producer *self, kin_time now) {
  kin_record_list expired = {0};
  kin_user_record *record;
  while (kin_shard_queues_wake(&self->shards, now, &expired))
    while ((record = kin_record_list_take(&expired)))
      kin_flush_complete(self, record, KIN_RECORD_EXPIRED);
}

static void give_up_misplaced(kin_producer *self, kin_time now) {
  kin_record_list again = {0};
  if (!self->misplaced || self->misplaced->until > now)
    return;
  kin_misplaced_give_up(self, &again, now);
  come_back(self, &again, now);
}

static kin_time earlier(kin_time one, kin_time other) {
  return one < other ? one : other;
}

/* When something is to be done, if nothing lands before. */
static kin_time next_time(const kin_producer *self, kin_time now) {
  kin_time due = kin_timers_next(&self->shards.timers);
  const kin_user_record *oldest = self->unrouted.first;
  if (oldest)
    due = earlier(due, kin_time_after(oldest->accepted, self->options.ttl));
  if (self->misplaced)
    due = earlier(due, self->misplaced->until);
  if (self->rest_until > now && self->shards.open_count > 0)
    due = earlier(due, self->rest_until);
  return due;
}

static kin_time step(kin_machine *machine, kin_time now) {
  kin_producer *self = (kin_producer *)machine;
  kin_time map = kin_shard_map_step(&self->map, machine, now);
  kin_time queue = look_at_queue(self, now);
  give_up_misplaced(self, now);
  expire_unrouted(self, now);
  wake_shards(self, now);
  send(self, now);
  kin_flush_hand_out(self, now);
  return earlier(earlier(map, queue), next_time(self, now));
}

/* ---- life ---- */

/* Everything that is not settled goes back. */
static void give_back(kin_producer *self, kin_record_list *records) {
  kin_user_record *record;
  while ((record = kin_record_list_take(records)))
    kin_flush_complete(self, record, KIN_RECORD_CLOSED);
}

static void collect_open(kin_producer *self, kin_record_list *records) {
  if (self->machine.engine)
    kin_completion_note_cause(self, &self->unrouted, &self->map.trouble);
  kin_record_list_merge(records, &self->unrouted);
  for (size_t i = 0; i < self->map.count; i++) {
    kin_record_list waited = {0};
    kin_shard_queues_take_out(&self->shards, self->map.shards[i], &waited);
    kin_record_list_merge(records, &waited);
  }
  for (kin_batch *batch; (batch = self->under_way);) {
    self->under_way = batch->next;
    atomic_fetch_sub_explicit(&self->metrics->in_flight, batch->records, memory_order_relaxed);
    kin_record_list sent = {0};
    kin_batcher_unpack(self, batch, &sent);
    for (kin_user_record *record = sent.first; record; record = record->next)
      record->maybe_stored = true;
    kin_record_list_merge(records, &sent);
  }
  kin_misplaced_free(self, records);
}

static void free_producer(kin_producer *self) {
  for (kin_batch *batch; (batch = self->spare);) {
    self->spare = batch->next;
    free(batch);
  }
  if (self->map.queue)
    kin_shard_map_free(&self->map);
  kin_shard_queues_free(&self->shards);
  kin_aggregate_free(&self->aggregate);
  kin_buf_free(&self->packed);
  kin_md5_free(self->md5);
  free(self->stream);
  kin_queue_release(self->queue);
  free(self);
}

static void destroy(kin_machine *machine) {
  kin_producer *self = (kin_producer *)machine;
  kin_record_list records = {0};
  kin_time now = 0;
  if (machine->engine) {
    kin_clock *clock = kin_engine_clock(machine->engine);
    now = clock->monotonic(clock);
  }
  kin_queue_seal(self->queue);
  self->map.ready = false; /* nothing is routed any more */
  take_all(self, now);
  collect_open(self, &records);
  give_back(self, &records);
  self->flush_count = 0;
  kin_flush_hand_out(self, now);
  kin_queue_end(self->queue);
  free_producer(self);
}

static void free_machine(kin_message *message) {
  destroy((kin_machine *)message);
}

/* There is no memory for it; destroy, which follows, gives everything back. */
static void refuse(kin_machine *machine) {
  (void)machine;
}

enum { PART_MAX = 16 << 20 };

bool kin_producer_start(kin_engine *engine, uint64_t id, kin_queue *queue,
                        const kin_producer_options *options) {
  static const kin_machine_vtable vtable = {receive, step, refuse, destroy};
  kin_producer *self = calloc(1, sizeof *self);
  if (!self)
    return false;
  self->machine.message = (kin_message){.kind = KIN_MESSAGE_MACHINE, .free = free_machine};
  self->machine.vtable = &vtable;
  self->machine.id = id;
  self->queue = kin_queue_hold(queue);
  self->metrics = kin_queue_metrics(queue);
  self->options = *options;
  self->stream = kin_slice_dup(options->stream);
  self->md5 = kin_md5_create();
  kin_aggregate_init(&self->aggregate, PART_MAX);
  kin_buf_init(&self->packed, PART_MAX);
  self->shards.linger = options->linger;
  self->shards.ttl = options->ttl;
  self->shards.ordered = options->ordered;
  self->shards.full_bytes = options->aggregate == KIN_AGGREGATE_OFF ? 0 : options->aggregate_bytes;
  if (!self->stream || !self->md5) {
    free_producer(self);
    return false;
  }
  kin_shard_map_init(&self->map, queue,
                     &(kin_shard_map_options){.stream = self->stream,
                                              .target = options->control_target,
                                              .rate_limit = options->rate_limit});
  return kin_engine_post(engine, &self->machine.message);
}
