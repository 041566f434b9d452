/* completion: decides what becomes of each entry of an answered request: stored, routed again,
 * failed or expired. */
#include <stdarg.h>
#include <stdio.h>

#include "engine/retry.h"
#include "producer/bisect.h"
#include "producer/internal.h"

/* While the service is down, the next request is sent after this long at the latest. */
static const kin_time backoff_max = 5 * KIN_SECOND;

static kin_time backoff(kin_producer *self, kin_error_class class, unsigned failures) {
  kin_clock *clock = kin_engine_clock(self->machine.engine);
  kin_time wait = kin_retry_backoff(clock, class, failures);
  return wait < backoff_max ? wait : backoff_max;
}

/* ---- outcomes of records ---- */

void kin_completion_set(kin_producer *self, kin_user_record *record, kin_record_outcome outcome) {
  record->outcome = (unsigned char)outcome;
  kin_flushes_note(&self->flushes, record);
  self->open--;
  self->open_failed -= record->attempts != NULL;
  self->expired += outcome == KIN_RECORD_EXPIRED;
  kin_record_list_add(&self->completed, record);
}

void kin_completion_set_all(kin_producer *self, kin_record_list *records,
                            kin_record_outcome outcome) {
  kin_user_record *record;
  while ((record = kin_record_list_take(records)))
    kin_completion_set(self, record, outcome);
}

void kin_completion_store(kin_producer *self, kin_record_list *records, const kin_stored *where) {
  for (kin_user_record *record = records->first; record && where; record = record->next)
    if (record->stored)
      *record->stored = *where;
  if (self->flushes.count > 0 || self->open_failed > 0)
    for (const kin_user_record *record = records->first; record; record = record->next) {
      kin_flushes_note(&self->flushes, record);
      self->open_failed -= record->attempts != NULL;
    }
  self->open -= records->count;
  kin_record_list_append(&self->completed, records);
}

void kin_completion_retry(kin_producer *self, kin_record_list *records, bool maybe_stored) {
  kin_count(&self->metrics->retried, records->count);
  for (kin_user_record *record = records->first; record; record = record->next) {
    record->last_outcome_unknown = maybe_stored;
    record->maybe_stored = record->maybe_stored || maybe_stored;
  }
  kin_record_list_merge(&self->retries, records);
}

static size_t count_failed(const kin_record_list *records) {
  size_t failed = 0;
  for (const kin_user_record *record = records->first; record; record = record->next)
    failed += record->attempts != NULL;
  return failed;
}

/* An attempt at the records has failed. */
static void note_attempt(kin_producer *self, kin_attempt_outcome *attempt, kin_record_list *records,
                         const kin_error *error) {
  size_t before = count_failed(records);
  kin_attempt_note(attempt, records, error);
  self->open_failed += count_failed(records) - before;
}

void kin_completion_note_cause(kin_producer *self, kin_record_list *records,
                               const kin_error *error) {
  kin_attempt_outcome attempt = {.at = kin_engine_wall(self->machine.engine)};
  kin_record_list sent = {0}, unsent = {0};
  kin_user_record *record;
  if (error->class == KIN_OK)
    return;
  while ((record = kin_record_list_take(records)))
    kin_record_list_add(record->attempts ? &sent : &unsent, record);
  note_attempt(self, &attempt, &unsent, error);
  kin_attempt_outcome_free(&attempt);
  kin_record_list_append(records, &sent);
  kin_record_list_merge(records, &unsent);
}

void kin_completion_note_reason(kin_producer *self, kin_record_list *records) {
  kin_error error;
  bool current = false;
  if (records->first && kin_causes_newest(kin_queue_causes(self->queue), &error, &current) &&
      current)
    kin_completion_note_cause(self, records, &error);
}

void kin_completion_expire(kin_producer *self, kin_record_list *records) {
  kin_completion_note_reason(self, records);
  kin_completion_set_all(self, records, KIN_RECORD_EXPIRED);
}

void kin_completion_reject(kin_producer *self, kin_user_record *record, const char *code,
                           const char *format, ...) {
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
  kin_completion_note_cause(self, &one, &error);
  kin_queue_note_failure(self->queue, &error, 1, true);
  kin_completion_set_all(self, &one, KIN_RECORD_FAILED);
}

/* Reports expired records: no error of an attempt reports them. */
static void note_expired(kin_producer *self) {
  kin_error error;
  if (self->expired == 0)
    return;
  kin_error_clear(&error);
  kin_slice_copy(KIN_SLICE("PutRecords"), error.operation, sizeof error.operation);
  kin_error_set(&error, KIN_FATAL, "Expired", "not stored within %g s (record_ttl)",
                (double)self->options.ttl / (double)KIN_SECOND);
  kin_queue_note_failure(self->queue, &error, self->expired, true);
  self->expired = 0;
}

void kin_completion_hand_out(kin_producer *self, kin_time now) {
  note_expired(self);
  kin_queue_complete(self->queue, &self->completed, now);
  unsigned done = kin_flushes_take_done(&self->flushes);
  if (done > 0)
    kin_queue_finish_flushes(self->queue, done);
}

/* ---- one entry ---- */

/* Notes where the entries were stored, before any of them is complete: if one of them shows that
 * the map is wrong, the others may be in a wrong shard, too. */
static void note_landings(kin_producer *self, kin_batch *batch, kin_time now) {
  for (size_t i = 0; i < batch->count; i++) {
    kin_batch_entry *entry = &batch->entries[i];
    if (batch->results[i].code.len > 0)
      continue;
    entry->placement = kin_misplaced_classify(self, entry, batch->results[i].shard_id);
    if (entry->placement == KIN_PLACEMENT_WRONG)
      kin_shard_map_doubt(&self->map, now);
    else if (entry->placement == KIN_PLACEMENT_UNKNOWN ||
             (self->map.refused && !self->map.predicts))
      kin_shard_map_invalidate(&self->map);
  }
}

/* Whether readers may drop the entry: it is an aggregate in a shard that is unknown, or in which
 * not all its records belong, or
 * the map by which it is in the right one is in doubt: a stream that is deleted and made again uses
 * the same ids. */
static bool is_misplaced(const kin_producer *self, const kin_batch_entry *entry) {
  const kin_shard_map *map = &self->map;
  return entry->records.count > 1 &&
         (entry->placement == KIN_PLACEMENT_UNKNOWN || entry->placement == KIN_PLACEMENT_FORMER ||
          entry->placement == KIN_PLACEMENT_WRONG || map->stale || map->asking > 0);
}

static void complete_stored(kin_producer *self, kin_batch_entry *entry,
                            const kin_put_result *result, const kin_attempt_outcome *attempt) {
  kin_shard_queue *shard = entry->shard;
  kin_stored where;
  kin_count(&self->metrics->stored_entries, 1);
  kin_count(&shard->metrics->stored, 1);
  kin_count(&shard->metrics->stored_bytes, entry->records.bytes);
  shard->failures = 0;
  bool misplaced = is_misplaced(self, entry);
  if (misplaced || entry->receipts) {
    kin_slice_copy(result->shard_id, where.shard_id, sizeof where.shard_id);
    kin_slice_copy(result->sequence_number, where.sequence_number, sizeof where.sequence_number);
    where.at = attempt->at;
    where.duration = attempt->duration;
  }
  if (misplaced)
    kin_misplaced_take(self, entry, &where, attempt->now);
  else
    kin_completion_store(self, &entry->records, entry->receipts ? &where : NULL);
}

/* The shard backs off, once for all entries of an answer. */
static void back_off_shard(kin_producer *self, kin_shard_queue *shard, kin_time now) {
  if (shard->backoff_until <= now)
    shard->backoff_until = now + backoff(self, KIN_TRANSIENT, shard->failures++);
}

static void rerandomize(kin_producer *self, kin_user_record *record) {
  static const char digits[] = "0123456789abcdef";
  kin_clock *clock = kin_engine_clock(self->machine.engine);
  for (size_t i = 0; i < record->key_len; i++)
    record->bytes[record->data_len + i] = digits[(unsigned)(clock->random(clock) * 16) & 15];
  record->hashed = false;
}

static void retry_throttled(kin_producer *self, kin_batch_entry *entry,
                            const kin_attempt_outcome *attempt) {
  kin_shard_queue *shard = entry->shard;
  kin_count(&self->metrics->throttled, 1);
  kin_count(&shard->metrics->throttled, 1);
  kin_limiter_throttle(&shard->limiter, attempt->started_at, attempt->now);
  back_off_shard(self, shard, attempt->now);
  if (self->options.rerandomize_keys)
    for (kin_user_record *record = entry->records.first; record; record = record->next)
      if (record->random_key)
        rerandomize(self, record);
  kin_completion_retry(self, &entry->records, attempt->maybe_stored);
}

/* The error of one entry, with the status, operation and request id of its call. */
static void set_entry_error(kin_producer *self, kin_error *error, const kin_call *call,
                            kin_error_class class, const kin_put_result *result) {
  kin_slice message = result->message;
  kin_call_mask_slice(call, self->machine.engine, &message);
  *error = call->request.error;
  kin_error_set_service(error, class, result->code, message);
}

/* The service refused a request, or an aggregate, of so many records for the content of one of
 * them. */
static void bisect(kin_producer *self, kin_record_list *records, size_t batch_records) {
  for (kin_user_record *record = records->first; record; record = record->next)
    kin_bisect_narrow(&record->max_batch, batch_records);
  kin_completion_retry(self, records, false);
}

static void complete_refused(kin_producer *self, const kin_call *call, kin_batch_entry *entry,
                             const kin_put_result *result, kin_attempt_outcome *attempt) {
  kin_error error;
  kin_shard_queue *shard = entry->shard;
  kin_error_class class = kin_error_classify(result->code, 200);
  set_entry_error(self, &error, call, class, result);
  bool bisects = entry->records.count > 1 && kin_bisect_is_about_content(&error);
  note_attempt(self, attempt, &entry->records, &error);
  kin_queue_note_failure(self->queue, &error, 1,
                         (class == KIN_FATAL && !bisects) ||
                             (class == KIN_TRANSIENT && shard->failures + 1 >= KIN_REPORT_AFTER));
  if (class == KIN_THROTTLED) {
    retry_throttled(self, entry, attempt);
  } else if (class == KIN_TRANSIENT) {
    back_off_shard(self, shard, attempt->now);
    kin_completion_retry(self, &entry->records, attempt->maybe_stored);
  } else if (bisects) {
    bisect(self, &entry->records, entry->records.count);
  } else {
    kin_completion_set_all(self, &entry->records, KIN_RECORD_FAILED);
  }
}

/* ---- one request ---- */

static void complete_expired(kin_producer *self, kin_batch *batch, kin_attempt_outcome *attempt,
                             const kin_error *error) {
  if (strcmp(error->code, KIN_CODE_TIMEOUT) ==
      0) /* else it was noted when the request was parked */
    kin_queue_note_failure(self->queue, error, batch->count, false);
  for (size_t i = 0; i < batch->count; i++) {
    note_attempt(self, attempt, &batch->entries[i].records, error);
    kin_completion_set_all(self, &batch->entries[i].records, KIN_RECORD_EXPIRED);
  }
}

/* Requests that were in flight at the same time count as one failure. */
static void back_off(kin_producer *self, const kin_call *call, const kin_attempt_outcome *attempt) {
  if (attempt->started_at <= self->failed_at)
    return;
  self->failed_at = attempt->now;
  kin_time after = kin_call_retry_after(call);
  kin_time wait = backoff(self, call->request.error.class, self->failures++);
  after = after < backoff_max ? after : backoff_max;
  self->backoff_until = attempt->now + (after > wait ? after : wait);
}

/* The records were probably stored, but the answer cannot be read: those to which this happened
 * unknown_attempts times fail, the others are sent again. */
static void complete_unread(kin_producer *self, kin_record_list *records,
                            kin_attempt_outcome *attempt, const kin_error *error) {
  unsigned max = self->options.unknown_attempts;
  kin_record_list again = {0}, failed = {0};
  kin_user_record *record;
  kin_error last = *error;
  while ((record = kin_record_list_take(records)))
    kin_record_list_add(++record->unread < max ? &again : &failed, record);
  last.class = KIN_FATAL;
  kin_error_add_maybe_stored(&last, max);
  note_attempt(self, attempt, &failed, &last);
  if (failed.count > 0)
    kin_queue_note_failure(self->queue, &last, 1, true);
  else
    kin_queue_note_failure(self->queue, error, 1, self->failures >= KIN_REPORT_AFTER);
  for (record = failed.first; record; record = record->next)
    record->maybe_stored = true;
  kin_completion_set_all(self, &failed, KIN_RECORD_FAILED);
  note_attempt(self, attempt, &again, error);
  kin_completion_retry(self, &again, true);
}

static void complete_failed(kin_producer *self, const kin_call *call, kin_batch *batch,
                            kin_attempt_outcome *attempt) {
  const kin_error *error = &call->request.error;
  bool bisects = batch->records > 1 && kin_bisect_is_about_content(error);
  attempt->maybe_stored = error->class == KIN_TRANSIENT && !call->request.exchange.unsent;
  if (error->class != KIN_FATAL)
    back_off(self, call, attempt);
  if (call->unread == 0)
    kin_queue_note_failure(self->queue, error, batch->count,
                           error->class == KIN_FATAL ? !bisects
                                                     : self->failures >= KIN_REPORT_AFTER);
  for (size_t i = 0; i < batch->count; i++) {
    kin_batch_entry *entry = &batch->entries[i];
    if (call->unread > 0) {
      complete_unread(self, &entry->records, attempt, error);
      continue;
    }
    note_attempt(self, attempt, &entry->records, error);
    if (error->class == KIN_THROTTLED)
      retry_throttled(self, entry, attempt);
    else if (error->class == KIN_TRANSIENT)
      kin_completion_retry(self, &entry->records, attempt->maybe_stored);
    else if (bisects)
      bisect(self, &entry->records, batch->records);
    else
      kin_completion_set_all(self, &entry->records, KIN_RECORD_FAILED);
  }
}

static void complete_answered(kin_producer *self, const kin_call *call, kin_batch *batch,
                              kin_attempt_outcome *attempt) {
  self->failures = 0;
  note_landings(self, batch, attempt->now);
  for (size_t i = 0; i < batch->count; i++) {
    if (batch->results[i].code.len > 0)
      complete_refused(self, call, &batch->entries[i], &batch->results[i], attempt);
    else
      complete_stored(self, &batch->entries[i], &batch->results[i], attempt);
  }
  if (self->open_failed == 0)
    kin_causes_end(kin_queue_causes(self->queue));
}

void kin_completion_uncount_attempt(kin_batch *batch) {
  for (size_t i = 0; i < batch->count; i++)
    for (kin_user_record *record = batch->entries[i].records.first; record; record = record->next)
      record->attempt_count--;
}

static void publish_limiter(const kin_shard_queue *shard) {
  kin_shard_metrics *metrics = shard->metrics;
  const kin_limiter *limiter = &shard->limiter;
  atomic_store_explicit(&metrics->records_rate, (uint64_t)limiter->records_rate,
                        memory_order_relaxed);
  atomic_store_explicit(&metrics->bytes_rate, (uint64_t)limiter->bytes_rate, memory_order_relaxed);
  atomic_store_explicit(&metrics->share, (uint64_t)(limiter->share * 1000), memory_order_relaxed);
}

/* The batch's shards may send again, have to back off, or are dropped if retired. */
static void release_shards(kin_producer *self, const kin_batch *batch, kin_time now) {
  for (size_t i = 0; i < batch->count; i++) {
    kin_shard_queue *shard = batch->entries[i].shard;
    shard->in_flight--;
    if (i + 1 < batch->count && batch->entries[i + 1].shard == shard)
      continue;
    publish_limiter(shard);
    if (shard->in_flight > 0 && (shard->retired || shard->backoff_until <= now))
      continue;
    if (shard->retired)
      kin_shard_map_drop(&self->map, shard);
    else
      kin_shard_queues_update(&self->shards, shard, now);
  }
}

void kin_completion_take(kin_producer *self, kin_call *call, kin_time now) {
  kin_batch *batch = call->request.context;
  bool was_sent = call->request.started_at > 0;
  kin_attempt_outcome attempt = {
      .at = was_sent ? call->sent_at : kin_engine_wall(self->machine.engine),
      .duration = was_sent ? now - call->request.started_at : 0,
      .started_at = call->request.started_at,
      .now = now,
  };
  atomic_fetch_sub_explicit(&self->metrics->in_flight, batch->records, memory_order_relaxed);
  if (!was_sent)
    kin_completion_uncount_attempt(batch);
  if (call->request.error.class == KIN_OK)
    complete_answered(self, call, batch, &attempt);
  else if (call->request.late) /* the deadline of its newest record, before it was sent */
    complete_expired(self, batch, &attempt, &call->request.error);
  else
    complete_failed(self, call, batch, &attempt);
  kin_attempt_outcome_free(&attempt);
  release_shards(self, batch, now);
}
