#include "producer/shard_queue.h"

#include <stdlib.h>

kin_shard_queue *kin_shard_queue_create(kin_metrics *metrics, kin_slice shard_id) {
  kin_shard_queue *shard = calloc(1, sizeof *shard);
  if (!shard)
    return NULL;
  shard->metrics = kin_metrics_add_shard(metrics, shard_id);
  if (shard->metrics)
    return shard;
  free(shard);
  return NULL;
}

void kin_shard_queue_free(kin_shard_queue *shard, kin_metrics *metrics) {
  kin_record_list_free(&shard->waiting);
  if (metrics)
    kin_metrics_remove_shard(metrics, shard->metrics);
  free(shard);
}

void kin_shard_queues_free(kin_shard_queues *shards) {
  kin_timers_free(&shards->timers);
}

/* ---- the list of open ones, and the records that wait in it ---- */

static bool is_full(const kin_shard_queues *shards, const kin_shard_queue *shard) {
  return shards->full_bytes > 0 && shard->waiting.bytes >= shards->full_bytes;
}

static void count(kin_shard_queues *shards, const kin_shard_queue *shard) {
  shards->open_count++;
  shards->records += shard->waiting.count;
  shards->bytes += shard->waiting.bytes;
  if (is_full(shards, shard)) {
    shards->full++;
    shards->full_bytes_total += shard->waiting.bytes;
  }
}

static void enter_list(kin_shard_queues *shards, kin_shard_queue *shard) {
  shard->state = KIN_SHARD_QUEUE_OPEN;
  shard->next = NULL;
  shard->before = shards->last_open;
  *(shards->last_open ? &shards->last_open->next : &shards->first_open) = shard;
  shards->last_open = shard;
  count(shards, shard);
}

/* Its waiting records must be those that were counted. */
static void uncount(kin_shard_queues *shards, const kin_shard_queue *shard) {
  shards->open_count--;
  shards->records -= shard->waiting.count;
  shards->bytes -= shard->waiting.bytes;
  if (is_full(shards, shard)) {
    shards->full--;
    shards->full_bytes_total -= shard->waiting.bytes;
  }
}

static void leave_list(kin_shard_queues *shards, kin_shard_queue *shard) {
  *(shard->before ? &shard->before->next : &shards->first_open) = shard->next;
  *(shard->next ? &shard->next->before : &shards->last_open) = shard->before;
  uncount(shards, shard);
}

/* ---- times ---- */

static kin_time expiry(const kin_shard_queues *shards, const kin_shard_queue *shard) {
  const kin_user_record *oldest = shard->waiting.first;
  return oldest ? kin_time_after(oldest->accepted, shards->ttl) : KIN_NEVER;
}

static kin_time linger_until(const kin_shard_queues *shards, const kin_shard_queue *shard) {
  const kin_user_record *oldest = shard->waiting.first;
  bool at_once = oldest->attempt_count > 0 || oldest->serial <= shards->flush_serial;
  return at_once ? 0 : oldest->accepted + shards->linger;
}

/* When the shard may be sent to; KIN_NEVER: after an answer. `limited`: the limiter decides. */
static kin_time allowed_at(const kin_shard_queues *shards, const kin_shard_queue *shard,
                           kin_time now, bool *limited) {
  *limited = false;
  if (shards->ordered && shard->in_flight > 0)
    return KIN_NEVER;
  size_t entries =
      shards->full_bytes > 0 ? 1 + shard->waiting.bytes / shards->full_bytes : shard->waiting.count;
  kin_time limit = kin_limiter_when(&shard->limiter, entries, now);
  *limited = limit > now && limit > shard->backoff_until;
  return *limited ? limit : shard->backoff_until;
}

static void set_limited(kin_shard_queues *shards, kin_shard_queue *shard, bool limited) {
  shards->limited += limited - shard->limited;
  shard->limited = limited;
}

static kin_time earlier(kin_time one, kin_time other) {
  return one < other ? one : other;
}

static void set_timer(kin_shard_queues *shards, kin_shard_queue *shard, kin_time due) {
  kin_timers_set(&shards->timers, &shard->timer, earlier(due, expiry(shards, shard)));
}

/* Sets the state of a shard queue that is not in the list, and its timer. */
static void set_state(kin_shard_queues *shards, kin_shard_queue *shard, kin_time now) {
  bool limited;
  set_limited(shards, shard, false);
  if (shard->waiting.count == 0) {
    shard->state = KIN_SHARD_QUEUE_EMPTY;
    shard->due = false;
    kin_timers_set(&shards->timers, &shard->timer, KIN_NEVER);
    return;
  }
  kin_time at = allowed_at(shards, shard, now, &limited);
  if (at > now) {
    set_limited(shards, shard, limited);
    shard->state = KIN_SHARD_QUEUE_BLOCKED;
    set_timer(shards, shard, at);
    return;
  }
  enter_list(shards, shard);
  kin_time due = linger_until(shards, shard);
  shard->due = due <= now;
  shards->due = shards->due || shard->due;
  set_timer(shards, shard, shard->due ? KIN_NEVER : due);
}

void kin_shard_queues_add(kin_shard_queues *shards, kin_shard_queue *shard,
                          kin_record_list *records, kin_time now) {
  uint64_t oldest = shard->waiting.first ? shard->waiting.first->serial : UINT64_MAX;
  bool open = shard->state == KIN_SHARD_QUEUE_OPEN;
  if (open && records->first->serial > oldest) { /* the usual case: place and timer stay */
    uncount(shards, shard);
    kin_record_list_merge(&shard->waiting, records);
    count(shards, shard);
    return;
  }
  if (open)
    leave_list(shards, shard);
  kin_record_list_merge(&shard->waiting, records);
  set_state(shards, shard, now);
}

kin_shard_queue *kin_shard_queues_next(kin_shard_queues *shards) {
  kin_shard_queue *shard = shards->first_open;
  if (shard)
    leave_list(shards, shard);
  return shard;
}

void kin_shard_queues_return(kin_shard_queues *shards, kin_shard_queue *shard, kin_time now) {
  set_state(shards, shard, now);
}

bool kin_shard_queues_ready(const kin_shard_queues *shards, const kin_shard_queue *shard,
                            kin_time now) {
  const kin_user_record *oldest = shard->waiting.first;
  return shard->due || is_full(shards, shard) || oldest->attempt_count > 0 ||
         oldest->serial <= shards->flush_serial || now - oldest->accepted >= shards->linger / 2;
}

void kin_shard_queues_update(kin_shard_queues *shards, kin_shard_queue *shard, kin_time now) {
  if (shard->state == KIN_SHARD_QUEUE_OPEN)
    leave_list(shards, shard);
  set_state(shards, shard, now);
}

void kin_shard_queues_take_out(kin_shard_queues *shards, kin_shard_queue *shard,
                               kin_record_list *records) {
  if (shard->state == KIN_SHARD_QUEUE_OPEN)
    leave_list(shards, shard);
  set_limited(shards, shard, false);
  shard->state = KIN_SHARD_QUEUE_EMPTY;
  kin_timers_set(&shards->timers, &shard->timer, KIN_NEVER);
  kin_record_list_append(records, &shard->waiting);
}

kin_shard_queue *kin_shard_queues_wake(kin_shard_queues *shards, kin_time now,
                                       kin_record_list *expired, bool *limited) {
  kin_timer *timer = kin_timers_pop(&shards->timers, now);
  if (!timer)
    return NULL;
  kin_shard_queue *shard = KIN_OWNER(timer, kin_shard_queue, timer);
  *limited = shard->limited;
  if (shard->state == KIN_SHARD_QUEUE_OPEN && expiry(shards, shard) > now) { /* its place stays */
    shard->due = shards->due = true;
    set_timer(shards, shard, KIN_NEVER);
    return shard;
  }
  if (shard->state == KIN_SHARD_QUEUE_OPEN)
    leave_list(shards, shard);
  while (shard->waiting.first && expiry(shards, shard) <= now)
    kin_record_list_add(expired, kin_record_list_take(&shard->waiting));
  set_state(shards, shard, now);
  return shard;
}

void kin_shard_queues_flush(kin_shard_queues *shards, uint64_t serial) {
  shards->flush_serial = serial;
  shards->due = shards->due || shards->first_open;
}
