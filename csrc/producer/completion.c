#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/retry.h"
#include "producer/internal.h"

/* A service that is down is asked this often at least. */
static const kin_time rest_max = 5 * KIN_SECOND;

/* A map that is not there by then may never be; readers that mind have lost the aggregate. */
static const kin_time misplaced_max = 60 * KIN_SECOND;

/* So many attempts of one request are shared, whatever was before them. */
enum { SHARED_MAX = 64 };

/* What is known of the attempt that has just ended. */
typedef struct kin_attempt_outcome {
  kin_time at, duration; /* at: wall */
  kin_time left;         /* monotonic */
  kin_time now;
  bool stored_perhaps; /* the outcome is unknown */
  kin_record_list *again;
  kin_attempt *attempts[SHARED_MAX]; /* the last ones that were made of it; counted */
  size_t made;
} kin_attempt_outcome;

static kin_time backoff(kin_producer *self, kin_error_class class, unsigned failures) {
  kin_clock *clock = kin_engine_clock(self->machine.engine);
  kin_time rest = kin_retry_backoff(clock, class, failures);
  return rest < rest_max ? rest : rest_max;
}

/* ---- attempts ---- */

static kin_attempt *find_attempt(const kin_attempt_outcome *attempt_outcome,
                                 const kin_attempt *behind, const kin_error *error) {
  for (size_t i = 0; i < SHARED_MAX && attempt_outcome->attempts[i]; i++) {
    kin_attempt *attempt = attempt_outcome->attempts[i];
    if (attempt->before == behind && attempt->status == error->status &&
        strcmp(attempt->code, error->code) == 0 && strcmp(attempt->message, error->message) == 0)
      return attempt;
  }
  return NULL;
}

/* The attempt_outcome's; NULL when memory is out. Records that have the same attempts behind them
 * share the new one. Where those are too many different ones, they are forgotten: else there would
 * be an attempt for each record, outside of the bound. */
static kin_attempt *attempt_of(kin_attempt_outcome *attempt_outcome, kin_attempt *behind,
                               const kin_error *error) {
  kin_attempt *attempt = find_attempt(attempt_outcome, behind, error);
  if (!attempt && behind && attempt_outcome->made >= SHARED_MAX)
    return attempt_of(attempt_outcome, NULL, error);
  if (!attempt) {
    attempt = kin_attempt_create(behind, error, attempt_outcome->at, attempt_outcome->duration);
    if (!attempt)
      return NULL;
    kin_attempt **place = &attempt_outcome->attempts[attempt_outcome->made++ % SHARED_MAX];
    kin_attempt_release(*place);
    *place = attempt;
  }
  return attempt;
}

static void note(kin_record_list *records, const kin_error *error,
                 kin_attempt_outcome *attempt_outcome) {
  kin_attempt *attempt = NULL;
  const kin_attempt *before = NULL;
  for (kin_user_record *record = records->first; record; record = record->next) {
    if (!attempt || record->attempts != before) {
      before = record->attempts;
      attempt = attempt_of(attempt_outcome, kin_attempt_behind(record->attempts), error);
    }
    if (attempt)
      kin_user_record_note(record, attempt);
  }
}

static void forget_attempts(kin_attempt_outcome *attempt_outcome) {
  for (size_t i = 0; i < SHARED_MAX; i++)
    kin_attempt_release(attempt_outcome->attempts[i]);
}

static void set_failure(kin_error *error, const kin_call *call, kin_error_class class,
                        kin_slice code, kin_slice message) {
  *error = call->request.error; /* status, operation, request id */
  kin_error_set_service(error, class, code, message);
}

/* ---- outcomes ---- */

static void settle_all(kin_producer *self, kin_record_list *records, kin_record_outcome outcome) {
  kin_user_record *record;
  while ((record = kin_record_list_take(records)))
    kin_flush_complete(self, record, outcome);
}

void kin_completion_reject(kin_producer *self, kin_user_record *record, const char *code,
                           const char *format, ...) {
  kin_attempt_outcome attempt_outcome = {.at = kin_engine_wall(self->machine.engine)};
  kin_record_list one = {0};
  kin_error error;
  va_list list;
  char text[256];
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  kin_error_clear(&error);
  kin_error_set(&error, KIN_FATAL, code, "%s", text);
  kin_record_list_add(&one, record);
  note(&one, &error, &attempt_outcome);
  forget_attempts(&attempt_outcome);
  kin_queue_note_failure(self->queue, &error, 1, true);
  settle_all(self, &one, KIN_RECORD_FAILED);
}

void kin_completion_note_cause(kin_producer *self, kin_record_list *records,
                               const kin_error *error) {
  kin_attempt_outcome attempt_outcome = {.at = kin_engine_wall(self->machine.engine)};
  if (error->class != KIN_OK)
    note(records, error, &attempt_outcome);
  forget_attempts(&attempt_outcome);
}

static void tell_where(kin_record_list *records, kin_slice shard_id, kin_slice sequence_number,
                       kin_time at, kin_time duration) {
  for (kin_user_record *record = records->first; record; record = record->next) {
    kin_stored *stored = record->stored;
    if (!stored)
      continue;
    kin_slice_copy(shard_id, stored->shard_id, sizeof stored->shard_id);
    kin_slice_copy(sequence_number, stored->sequence_number, sizeof stored->sequence_number);
    stored->at = at;
    stored->duration = duration;
  }
}

static void rerandomize(kin_producer *self, kin_user_record *record) {
  static const char digits[] = "0123456789abcdef";
  kin_clock *clock = kin_engine_clock(self->machine.engine);
  for (size_t i = 0; i < record->key_len; i++)
    record->bytes[record->data_len + i] = digits[(unsigned)(clock->random(clock) * 16) & 15];
  record->hashed = false;
}

/* They go to their shards again. */
static void send_again(kin_producer *self, kin_record_list *records,
                       const kin_attempt_outcome *attempt_outcome, bool throttled) {
  kin_count(&self->metrics->retried, records->count);
  for (kin_user_record *record = records->first; record; record = record->next) {
    record->last_outcome_unknown = attempt_outcome->stored_perhaps;
    record->maybe_stored = record->maybe_stored || record->last_outcome_unknown;
    if (throttled && record->random_key && self->options.rerandomize_keys)
      rerandomize(self, record);
  }
  kin_record_list_merge(attempt_outcome->again, records);
}

/* ---- where aggregates are ---- */

/* Readers drop an aggregate if one of its records lies outside of the shard it is in. */
static bool all_belong(const kin_record_list *records, const kin_shard_queue *shard) {
  for (const kin_user_record *record = records->first; record; record = record->next)
    if (kin_hash_compare(record->hash, shard->first) < 0 ||
        kin_hash_compare(record->hash, shard->last) > 0)
      return false;
  return true;
}

static void send_misplaced_again(kin_producer *self, kin_record_list *records,
                                 kin_attempt_outcome *attempt_outcome) {
  kin_count(&self->metrics->misplaced_records, records->count);
  attempt_outcome->stored_perhaps = true; /* they are there, for readers that do not mind */
  send_again(self, records, attempt_outcome, false);
}

/* Kept until the map knows that shard. */
static bool hold_misplaced(kin_producer *self, kin_batch_entry *entry, const kin_put_result *result,
                           const kin_attempt_outcome *attempt_outcome) {
  kin_time ttl = self->options.ttl;
  kin_misplaced *held = malloc(sizeof *held);
  if (!held)
    return false;
  held->next = NULL;
  held->until = attempt_outcome->now + (ttl < misplaced_max ? ttl : misplaced_max);
  held->records = entry->records;
  entry->records = (kin_record_list){0};
  kin_slice_copy(result->shard_id, held->stored.shard_id, sizeof held->stored.shard_id);
  kin_slice_copy(result->sequence_number, held->stored.sequence_number,
                 sizeof held->stored.sequence_number);
  held->stored.at = attempt_outcome->at;
  held->stored.duration = attempt_outcome->duration;
  *(self->misplaced ? &self->last_misplaced->next : &self->misplaced) = held;
  self->last_misplaced = held;
  return true;
}

static void store_misplaced(kin_producer *self, const kin_misplaced *held,
                            kin_record_list *records) {
  const kin_stored *stored = &held->stored;
  tell_where(records, kin_slice_of(stored->shard_id), kin_slice_of(stored->sequence_number),
             stored->at, stored->duration);
  kin_flush_complete_stored(self, records);
}

void kin_misplaced_resolve(kin_producer *self, kin_record_list *again, kin_time now) {
  kin_misplaced *held;
  while ((held = self->misplaced)) {
    self->misplaced = held->next;
    const kin_shard_queue *shard =
        kin_shard_map_named(&self->map, kin_slice_of(held->stored.shard_id));
    if (shard && all_belong(&held->records, shard))
      store_misplaced(self, held, &held->records);
    else
      send_misplaced_again(self, &held->records,
                           &(kin_attempt_outcome){.now = now, .again = again});
    free(held);
  }
}

void kin_misplaced_give_up(kin_producer *self, kin_record_list *again, kin_time now) {
  kin_misplaced *held;
  while ((held = self->misplaced) && held->until <= now) {
    kin_record_list *records = &held->records, over = {0};
    self->misplaced = held->next;
    while (records->first && kin_time_after(records->first->accepted, self->options.ttl) <= now)
      kin_record_list_add(&over, kin_record_list_take(records));
    store_misplaced(self, held, &over);
    send_misplaced_again(self, records, &(kin_attempt_outcome){.now = now, .again = again});
    free(held);
  }
}

void kin_misplaced_free(kin_producer *self, kin_record_list *records) {
  kin_misplaced *held;
  while ((held = self->misplaced)) {
    self->misplaced = held->next;
    for (kin_user_record *record = held->records.first; record; record = record->next)
      record->maybe_stored = true;
    kin_record_list_merge(records, &held->records);
    free(held);
  }
}

/* ---- one entry ---- */

static void complete_stored(kin_producer *self, kin_batch_entry *entry,
                            const kin_put_result *result, kin_attempt_outcome *attempt_outcome) {
  kin_shard_queue *shard = entry->shard;
  kin_count(&self->metrics->stored_entries, 1);
  kin_count(&shard->metrics->stored, 1);
  kin_count(&shard->metrics->stored_bytes, entry->records.bytes);
  shard->failures = 0;
  if (!self->map.predicts) {
    if (self->map.refused)
      kin_shard_map_doubt(&self->map);
  } else if (!kin_slice_is(result->shard_id, shard->metrics->shard_id)) {
    const kin_shard_queue *other = kin_shard_map_named(&self->map, result->shard_id);
    if (!other)
      kin_shard_map_doubt(&self->map);
    if (entry->records.count > 1 && !(other && all_belong(&entry->records, other))) {
      if (other || !hold_misplaced(self, entry, result, attempt_outcome))
        send_misplaced_again(self, &entry->records, attempt_outcome);
      return;
    }
  }
  if (entry->receipts)
    tell_where(&entry->records, result->shard_id, result->sequence_number, attempt_outcome->at,
               attempt_outcome->duration);
  kin_flush_complete_stored(self, &entry->records);
}

/* The shard rests, once for all entries of an answer. */
static void rest_shard(kin_producer *self, kin_shard_queue *shard, kin_time now) {
  if (shard->rest_until <= now)
    shard->rest_until = now + backoff(self, KIN_TRANSIENT, shard->failures++);
}

static void complete_throttled(kin_producer *self, kin_batch_entry *entry,
                               const kin_attempt_outcome *attempt_outcome) {
  kin_shard_queue *shard = entry->shard;
  kin_count(&self->metrics->throttled, 1);
  kin_count(&shard->metrics->throttled, 1);
  kin_limiter_throttle(&shard->limiter, attempt_outcome->left, attempt_outcome->now);
  rest_shard(self, shard, attempt_outcome->now);
  send_again(self, &entry->records, attempt_outcome, true);
}

static void complete_refused(kin_producer *self, const kin_call *call, kin_batch_entry *entry,
                             const kin_put_result *result, kin_attempt_outcome *attempt_outcome) {
  kin_error error;
  kin_shard_queue *shard = entry->shard;
  kin_error_class class = kin_error_classify(result->code, 200);
  set_failure(&error, call, class, result->code, result->message);
  note(&entry->records, &error, attempt_outcome);
  kin_queue_note_failure(self->queue, &error, 1,
                         class == KIN_FATAL ||
                             (class == KIN_TRANSIENT && shard->failures + 1 >= KIN_TOLD_AFTER));
  if (class == KIN_THROTTLED) {
    complete_throttled(self, entry, attempt_outcome);
  } else if (class == KIN_TRANSIENT) {
    rest_shard(self, shard, attempt_outcome->now);
    send_again(self, &entry->records, attempt_outcome, false);
  } else {
    settle_all(self, &entry->records, KIN_RECORD_FAILED);
  }
}

/* ---- the whole request ---- */

static bool is_about_content(const kin_error *error) {
  static const char *const codes[] = {"ValidationException", "InvalidArgumentException",
                                      "SerializationException", "RequestEntityTooLarge"};
  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
    if (strcmp(error->code, codes[i]) == 0)
      return true;
  return error->status == 413;
}

/* Something in it is wrong, and all of it was refused: what is wrong is found by halves. */
static void halve(kin_producer *self, kin_record_list *records, size_t in_all,
                  const kin_attempt_outcome *attempt_outcome) {
  size_t half = in_all / 2 < UINT16_MAX ? in_all / 2 : UINT16_MAX;
  for (kin_user_record *record = records->first; record; record = record->next)
    if (record->max_batch == 0 || half < record->max_batch)
      record->max_batch = (uint16_t)half;
  send_again(self, records, attempt_outcome, false);
}

/* The engine's word; a timeout under way passes. */
static bool is_late(const kin_error *error) {
  return error->class == KIN_FATAL && error->status == 0 &&
         strcmp(error->code, KIN_CODE_TIMEOUT) == 0;
}

/* It could not leave in time: the deadline is that of its newest record. */
static void complete_late(kin_producer *self, kin_batch *batch,
                          kin_attempt_outcome *attempt_outcome, const kin_error *error) {
  for (size_t i = 0; i < batch->count; i++) {
    note(&batch->entries[i].records, error, attempt_outcome);
    settle_all(self, &batch->entries[i].records, KIN_RECORD_EXPIRED);
  }
}

static void complete_failed(kin_producer *self, const kin_call *call, kin_batch *batch,
                            kin_attempt_outcome *attempt_outcome) {
  const kin_error *error = &call->request.error;
  bool halves = error->class == KIN_FATAL && batch->records > 1 && is_about_content(error);
  attempt_outcome->stored_perhaps = error->class == KIN_TRANSIENT && !call->request.exchange.unsent;
  if (error->class != KIN_FATAL && attempt_outcome->left > self->failed_at) {
    /* those that were under way beside it tell nothing new */
    self->failed_at = attempt_outcome->now;
    kin_time after = kin_call_retry_after(call);
    kin_time rest = backoff(self, error->class, self->failures++);
    after = after < rest_max ? after : rest_max;
    self->rest_until = attempt_outcome->now + (after > rest ? after : rest);
  }
  kin_queue_note_failure(self->queue, error, batch->count,
                         error->class == KIN_FATAL ? !halves : self->failures >= KIN_TOLD_AFTER);
  for (size_t i = 0; i < batch->count; i++) {
    kin_batch_entry *entry = &batch->entries[i];
    note(&entry->records, error, attempt_outcome);
    if (error->class == KIN_THROTTLED)
      complete_throttled(self, entry, attempt_outcome);
    else if (error->class == KIN_TRANSIENT)
      send_again(self, &entry->records, attempt_outcome, false);
    else if (halves)
      halve(self, &entry->records, batch->records, attempt_outcome);
    else
      settle_all(self, &entry->records, KIN_RECORD_FAILED);
  }
}

static void complete_answered(kin_producer *self, const kin_call *call, kin_batch *batch,
                              kin_attempt_outcome *attempt_outcome) {
  self->failures = 0;
  kin_causes_end(kin_queue_causes(self->queue));
  for (size_t i = 0; i < batch->count; i++) {
    attempt_outcome->stored_perhaps = false;
    if (batch->results[i].code.len > 0)
      complete_refused(self, call, &batch->entries[i], &batch->results[i], attempt_outcome);
    else
      complete_stored(self, &batch->entries[i], &batch->results[i], attempt_outcome);
  }
}

/* It was not sent at all, which is no attempt. */
static void uncount_attempt(kin_batch *batch) {
  for (size_t i = 0; i < batch->count; i++)
    for (kin_user_record *record = batch->entries[i].records.first; record; record = record->next)
      record->tries--;
}

static void tell_shard(const kin_shard_queue *shard) {
  kin_shard_metrics *metrics = shard->metrics;
  const kin_limiter *limiter = &shard->limiter;
  atomic_store_explicit(&metrics->records_rate, (uint64_t)limiter->records_rate,
                        memory_order_relaxed);
  atomic_store_explicit(&metrics->bytes_rate, (uint64_t)limiter->bytes_rate, memory_order_relaxed);
  atomic_store_explicit(&metrics->share, (uint64_t)(limiter->share * 1000), memory_order_relaxed);
}

/* Their shards may go on, have to rest, or are done. */
static void free_shard_queues(kin_producer *self, const kin_batch *batch, kin_time now) {
  for (size_t i = 0; i < batch->count; i++) {
    kin_shard_queue *shard = batch->entries[i].shard;
    shard->in_flight--;
    if (i + 1 < batch->count && batch->entries[i + 1].shard == shard)
      continue;
    tell_shard(shard);
    if (shard->in_flight > 0 && (shard->retired || shard->rest_until <= now))
      continue;
    if (shard->retired)
      kin_shard_map_drop(&self->map, shard);
    else
      kin_shard_queues_look_again(&self->shards, shard, now);
  }
}

void kin_completion_take(kin_producer *self, kin_call *call, kin_record_list *again, kin_time now) {
  kin_batch *batch = call->request.context;
  bool was_sent = call->request.started_at > 0;
  kin_attempt_outcome attempt_outcome = {
      .at = was_sent ? call->sent_at : kin_engine_wall(self->machine.engine),
      .duration = was_sent ? now - call->request.started_at : 0,
      .left = call->request.started_at,
      .now = now,
      .again = again,
  };
  kin_metrics *metrics = self->metrics;
  atomic_fetch_sub_explicit(&metrics->in_flight, batch->records, memory_order_relaxed);
  if (!was_sent)
    uncount_attempt(batch);
  if (call->request.error.class == KIN_OK)
    complete_answered(self, call, batch, &attempt_outcome);
  else if (is_late(&call->request.error))
    complete_late(self, batch, &attempt_outcome, &call->request.error);
  else
    complete_failed(self, call, batch, &attempt_outcome);
  forget_attempts(&attempt_outcome);
  free_shard_queues(self, batch, now);
}
