#include "producer/producer.h"

#include <stdlib.h>

#include "producer/internal.h"
#include "producer/waiting.h"

/* ---- sending ---- */

static void note_sent(kin_producer *self, kin_batch *batch) {
  kin_metrics *metrics = self->metrics;
  kin_count(&metrics->requests, 1);
  kin_count(&metrics->entries, batch->count);
  kin_count(&metrics->in_flight, batch->records);
  kin_count(&metrics->possible_duplicates, batch->last_outcome_unknown);
  batch->next = self->sent_batches;
  self->sent_batches = batch;
  self->in_flight++;
}

static bool read_answer(kin_call *call) {
  kin_batch *batch = call->request.context;
  kin_buf *answer = &call->request.exchange.answer;
  kin_slice encryption;
  return kin_put_records_read(answer->at, answer->len, batch->results, batch->count, &encryption);
}

/* Memory was out for the request: its records are routed again after a back-off. */
static void put_back(kin_producer *self, kin_batch *batch, kin_time now) {
  for (size_t i = 0; i < batch->count; i++) {
    kin_shard_queue *shard = batch->entries[i].shard;
    shard->in_flight--;
    kin_shard_queues_update(&self->shards, shard, now); /* its records may expire instead */
  }
  kin_batcher_unpack(self, batch, &self->retries);
  for (kin_user_record *record = self->retries.first; record; record = record->next)
    record->attempt_count--;
  self->backoff_until = now + KIN_OUT_OF_MEMORY_BACKOFF;
  kin_routing_retry(self, now);
}

static bool may_send(const kin_producer *self, kin_time now) {
  unsigned parallel = self->failures > 0 ? 1 : self->options.parallel;
  if (self->options.ordered && self->misplaced)
    return false; /* its records may have to be sent again, before later ones */
  return self->map.ready && !self->barrier && self->in_flight < parallel &&
         now >= self->backoff_until;
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
    note_sent(self, batch);
    kin_engine_send(self->machine.engine, &call->request);
  }
}

/* ---- answers ---- */

static void take_batch(kin_producer *self, kin_call *call, kin_time now) {
  kin_batch *batch = call->request.context, **link = &self->sent_batches;
  while (*link != batch)
    link = &(*link)->next;
  *link = batch->next;
  self->in_flight--;
  kin_completion_take(self, call, now);
  kin_batcher_free(self, batch);
  kin_routing_retry(self, now);
}

static void take_map(kin_producer *self, kin_call *call, kin_time now) {
  bool first = !self->map.ready;
  if (!kin_shard_map_receive(&self->map, &self->machine, call, &self->shards, &self->retries, now))
    return;
  self->barrier = self->options.ordered && !first && self->in_flight > 0;
  kin_misplaced_resolve(self);
  kin_batcher_publish(self);
  kin_routing_retry(self, now);
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

/* The records wait in the bound, for their time to live. */
static bool park(kin_machine *machine, kin_request *request, const kin_error *error) {
  kin_producer *self = (kin_producer *)machine;
  const kin_batch *batch = request->context;
  bool is_map = kin_shard_map_owns(&self->map, (kin_call *)request);
  if (is_map)
    self->map.error = *error;
  self->unreported = self->open == 0;
  kin_queue_note_failure(self->queue, error, is_map ? 1 : batch->count, self->open > 0);
  return true;
}

/* The map waits for credentials since before there were records. */
static void report_parked(kin_producer *self) {
  if (!self->unreported || self->open == 0)
    return;
  self->unreported = false;
  if (self->map.error.class != KIN_OK)
    kin_queue_note_failure(self->queue, &self->map.error, 1, true);
}

/* ---- the step ---- */

/* Expires records that wait for the shard map, with the error of the map as their cause. */
static void expire_unrouted(kin_producer *self, kin_time now) {
  kin_record_list expired = {0};
  while (self->unrouted.first && kin_routing_is_expired(self, self->unrouted.first, now))
    kin_record_list_add(&expired, kin_record_list_take(&self->unrouted));
  kin_completion_note_cause(self, &expired, &self->map.error);
  kin_completion_expire(self, &expired);
}

static void wake_shards(kin_producer *self, kin_time now) {
  kin_record_list expired = {0};
  kin_error error;
  bool limited;
  while (kin_shard_queues_wake(&self->shards, now, &expired, &limited)) {
    if (expired.count > 0 && limited) {
      kin_waiting_set_rate_limit(&error, 1);
      kin_completion_note_cause(self, &expired, &error);
    }
    kin_completion_expire(self, &expired);
  }
}

static void expire_misplaced(kin_producer *self, kin_time now) {
  if (kin_misplaced_next(self) > now)
    return;
  kin_misplaced_expire(self, now);
  kin_routing_retry(self, now);
}

static kin_time earlier(kin_time one, kin_time other) {
  return one < other ? one : other;
}

/* When to step again, unless an answer comes before. */
static kin_time next_time(const kin_producer *self, kin_time now) {
  kin_time due = earlier(kin_timers_next(&self->shards.timers), kin_misplaced_next(self));
  const kin_user_record *oldest = self->unrouted.first;
  if (oldest)
    due = earlier(due, kin_time_after(oldest->accepted, self->options.ttl));
  if (self->backoff_until > now && self->shards.open_count > 0)
    due = earlier(due, self->backoff_until);
  return due;
}

static kin_time step(kin_machine *machine, kin_time now) {
  kin_producer *self = (kin_producer *)machine;
  kin_time map = kin_shard_map_step(&self->map, machine, now);
  kin_time queue = kin_routing_take_due(self, now);
  report_parked(self);
  expire_misplaced(self, now);
  expire_unrouted(self, now);
  wake_shards(self, now);
  send(self, now);
  atomic_store_explicit(&self->metrics->rate_limited, self->shards.limited, memory_order_relaxed);
  kin_completion_hand_out(self, now);
  return earlier(earlier(map, queue), next_time(self, now));
}

/* ---- life ---- */

/* Notes why records that wait were not sent: their shard's limit, or what else is known. */
static void note_unsent(kin_producer *self, kin_record_list *records, bool limited) {
  kin_error error;
  if (limited)
    kin_waiting_set_rate_limit(&error, 1);
  if (self->machine.engine && (limited || kin_waiting_reason(self->queue, &error)))
    kin_completion_note_cause(self, records, &error);
}

/* Merges all records that have no outcome into `records`. */
static void collect_open(kin_producer *self, kin_record_list *records) {
  if (self->machine.engine)
    kin_completion_note_cause(self, &self->unrouted, &self->map.error);
  note_unsent(self, &self->unrouted, false);
  kin_record_list_merge(records, &self->unrouted);
  for (size_t i = 0; i < self->map.count + self->map.covered; i++) {
    kin_record_list waited = {0};
    bool limited = self->map.shards[i]->limited;
    kin_shard_queues_take_out(&self->shards, self->map.shards[i], &waited);
    note_unsent(self, &waited, limited);
    kin_record_list_merge(records, &waited);
  }
  for (kin_batch *batch; (batch = self->sent_batches);) {
    self->sent_batches = batch->next;
    atomic_fetch_sub_explicit(&self->metrics->in_flight, batch->records, memory_order_relaxed);
    kin_record_list sent = {0};
    bool in_flight = batch->call->request.state == KIN_REQUEST_IN_FLIGHT;
    if (batch->call->request.started_at == 0)
      kin_completion_uncount_attempt(batch);
    kin_batcher_unpack(self, batch, &sent);
    for (kin_user_record *record = sent.first; record && in_flight; record = record->next)
      record->maybe_stored = true;
    if (!in_flight)
      kin_completion_note_reason(self, &sent);
    kin_record_list_merge(records, &sent);
  }
  kin_misplaced_free(self, records);
}

static void free_producer(kin_producer *self) {
  for (kin_batch *batch; (batch = self->free_batches);) {
    self->free_batches = batch->next;
    free(batch);
  }
  if (self->map.queue) /* it is initialised */
    kin_shard_map_free(&self->map);
  kin_shard_queues_free(&self->shards);
  kin_aggregate_free(&self->scratch.aggregate);
  kin_buf_free(&self->scratch.packed);
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
  self->map.ready = false; /* no record is routed any more */
  kin_routing_take_all(self, now);
  collect_open(self, &records);
  kin_completion_set_all(self, &records, KIN_RECORD_CLOSED);
  self->flushes.count = 0;
  kin_completion_hand_out(self, now);
  kin_queue_end(self->queue);
  free_producer(self);
}

/* The engine has no memory for the machine: destroy, which follows, returns the records. */
static void refuse(kin_machine *machine) {
  (void)machine;
}

enum { AGGREGATE_MAX = 16 << 20 }; /* bytes */

bool kin_producer_start(kin_engine *engine, uint64_t id, kin_queue *queue,
                        const kin_producer_options *options) {
  static const kin_machine_vtable vtable = {receive, step, refuse, destroy, park, NULL};
  kin_producer *self = calloc(1, sizeof *self);
  if (!self)
    return false;
  kin_machine_init(&self->machine, &vtable, id);
  self->queue = kin_queue_hold(queue);
  self->metrics = kin_queue_metrics(queue);
  self->options = *options;
  self->stream = kin_slice_dup(options->stream);
  self->md5 = kin_md5_create();
  kin_aggregate_init(&self->scratch.aggregate, AGGREGATE_MAX);
  kin_buf_init(&self->scratch.packed, AGGREGATE_MAX);
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
