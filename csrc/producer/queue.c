#include "producer/queue.h"

#include <stdlib.h>

#include "producer/flush.h"
#include "producer/ring.h"
#include "producer/record_pool.h"

/* A message that is part of the queue, so that it can be sent when memory is out. */
typedef struct signal {
  kin_message message; /* first */
  kin_queue *queue;
  bool in_flight; /* under the queue's lock */
} signal;

/* In batches: Lua has to wait when more than BEHIND are in the queue, until CAUGHT_UP are left. */
enum { BEHIND = 4, CAUGHT_UP = 2 };

struct kin_queue {
  /* constant */
  kin_engine *engine; /* counted */
  kin_queue_options options;

  /* any thread: atomic, or with a lock of its own */
  atomic_int references;
  atomic_size_t max_record; /* bytes; 0: not known yet */
  kin_budget budget;
  kin_metrics metrics;
  kin_causes causes;

  pthread_mutex_t lock;    /* of all that follows */
  pthread_cond_t progress; /* no record is open, a flush is done, or the machine has ended */
  signal records, completed;
  struct {
    kin_ring in;         /* to the machine */
    kin_record_list out; /* to Lua */
    kin_record_pool pool;
    kin_flush_marks flushes;
    uint64_t last_serial;
    size_t accepted, accepted_bytes, open;
    size_t unreported;   /* failed records that were collected, not yet passed on to the user */
    bool was_full;       /* a record was refused since the machine last looked */
    bool wants_capacity; /* the same, since Lua was last notified */
    bool blocked;        /* the machine can send no more now */
    bool awaited;        /* Lua waits until the machine has caught up */
    bool closed;         /* written by the Lua thread, or at exit */
    bool sealed, ended;
  } shared;
};

/* ---- signals ---- */

static void free_signal(kin_message *message) {
  signal *self = (signal *)message;
  pthread_mutex_lock(&self->queue->lock);
  self->in_flight = false;
  pthread_mutex_unlock(&self->queue->lock);
  kin_queue_release(self->queue);
}

static void init_signal(signal *self, kin_queue *queue, kin_message_kind kind, uint64_t owner) {
  self->message = (kin_message){.kind = kind, .owner = owner, .free = free_signal};
  self->queue = queue;
}

/* Under the lock. Returns the signal if unlock_and_send has to send it; NULL: it is in flight
 * already. */
static signal *raise(signal *self) {
  if (self->in_flight)
    return NULL;
  self->in_flight = true;
  kin_queue_hold(self->queue);
  return self;
}

/* Sends the signal unless it is NULL. False: the engine is stopped. */
static bool unlock_and_send(kin_queue *queue, signal *raised) {
  pthread_mutex_unlock(&queue->lock);
  if (raised == &queue->records)
    return kin_engine_post(queue->engine, &raised->message);
  if (raised)
    kin_engine_notify(queue->engine, &raised->message);
  return true;
}

static void notify_lua(kin_queue *queue) {
  pthread_mutex_lock(&queue->lock);
  unlock_and_send(queue, raise(&queue->completed));
}

/* ---- life ---- */

static void init_condition(pthread_cond_t *condition) {
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(condition, &attributes);
  pthread_condattr_destroy(&attributes);
}

kin_queue *kin_queue_create(kin_engine *engine, uint64_t producer,
                            const kin_queue_options *options) {
  kin_queue *queue = calloc(1, sizeof *queue);
  if (!queue)
    return NULL;
  kin_engine_hold(engine);
  queue->engine = engine;
  queue->options = *options;
  atomic_init(&queue->references, 1);
  kin_budget_init(&queue->budget, options->max_records, options->max_bytes);
  kin_metrics_init(&queue->metrics);
  kin_causes_init(&queue->causes);
  init_signal(&queue->records, queue, KIN_MESSAGE_RECORDS, producer);
  init_signal(&queue->completed, queue, KIN_MESSAGE_COMPLETED, producer);
  pthread_mutex_init(&queue->lock, NULL);
  init_condition(&queue->progress);
  return queue;
}

kin_queue *kin_queue_hold(kin_queue *queue) {
  atomic_fetch_add(&queue->references, 1);
  return queue;
}

void kin_queue_release(kin_queue *queue) {
  if (!queue || atomic_fetch_sub(&queue->references, 1) != 1)
    return;
  kin_ring_free(&queue->shared.in);
  kin_record_list_free(&queue->shared.out);
  kin_record_pool_free(&queue->shared.pool);
  kin_metrics_destroy(&queue->metrics);
  kin_budget_destroy(&queue->budget);
  kin_causes_destroy(&queue->causes);
  pthread_mutex_destroy(&queue->lock);
  pthread_cond_destroy(&queue->progress);
  kin_engine *engine = queue->engine;
  free(queue);
  kin_engine_release(engine);
}

kin_metrics *kin_queue_metrics(kin_queue *queue) {
  return &queue->metrics;
}

kin_causes *kin_queue_causes(kin_queue *queue) {
  return &queue->causes;
}

void kin_queue_note_failure(kin_queue *queue, const kin_error *error, uint64_t count, bool report) {
  if (kin_causes_note(&queue->causes, error, count, report))
    notify_lua(queue);
}

void kin_queue_set_max_record(kin_queue *queue, size_t bytes) {
  atomic_store(&queue->max_record, bytes);
}

/* One record's part of the bound is free. */
static void give_back(kin_queue *queue, size_t size) {
  if (kin_budget_give(&queue->budget, size))
    notify_lua(queue);
}

/* ---- in: from Lua to the machine; the static functions run under the lock ---- */

static bool has_batch(const kin_queue *queue) {
  return queue->shared.in.count >= queue->options.batch_records ||
         queue->shared.in.bytes >= queue->options.batch_bytes;
}

/* Whether more than so many batches are in the queue, only because the machine is busy. */
static bool is_behind(const kin_queue *queue, size_t batches) {
  return !queue->shared.blocked && !queue->shared.closed && !queue->shared.sealed &&
         (queue->shared.in.count > batches * queue->options.batch_records ||
          queue->shared.in.bytes > batches * queue->options.batch_bytes);
}

bool kin_queue_is_behind(kin_queue *queue) {
  pthread_mutex_lock(&queue->lock);
  bool behind = is_behind(queue, CAUGHT_UP);
  queue->shared.awaited = queue->shared.awaited || behind;
  pthread_mutex_unlock(&queue->lock);
  return behind;
}

/* The signal to Lua that the machine has caught up, if Lua waits for that. */
static signal *raise_caught_up(kin_queue *queue) {
  if (!queue->shared.awaited || is_behind(queue, CAUGHT_UP))
    return NULL;
  queue->shared.awaited = false;
  return raise(&queue->completed);
}

/* Called without the lock: makes the machine send what is in the queue without lingering. */
static kin_queue_result refuse_full(kin_queue *queue) {
  pthread_mutex_lock(&queue->lock);
  signal *raised = queue->shared.was_full ? NULL : raise(&queue->records);
  queue->shared.was_full = queue->shared.wants_capacity = true;
  unlock_and_send(queue, raised);
  return KIN_QUEUE_FULL;
}

/* Unlocks while it allocates, when the pool has no memory. NULL when memory is out. */
static kin_user_record *copy(kin_queue *queue, const kin_queue_record *from, size_t size) {
  void *memory = kin_record_pool_take(&queue->shared.pool, size);
  if (memory)
    return kin_user_record_init(memory, &from->put, from->receipt != 0);
  pthread_mutex_unlock(&queue->lock);
  memory = malloc(size);
  if (memory)
    kin_user_record_init(memory, &from->put, from->receipt != 0);
  pthread_mutex_lock(&queue->lock);
  return memory;
}

static void accept(kin_queue *queue, kin_user_record *record, const kin_queue_record *from) {
  kin_clock *clock = kin_engine_clock(queue->engine);
  record->receipt = from->receipt;
  record->random_key = from->random_key;
  record->accepted = clock->coarse(clock);
  record->serial = ++queue->shared.last_serial;
  kin_ring_add(&queue->shared.in, record);
  queue->shared.accepted++;
  queue->shared.accepted_bytes += kin_user_record_bytes(record);
  queue->shared.open++;
}

kin_queue_result kin_queue_add(kin_queue *queue, const kin_queue_record *from) {
  const kin_put *put = &from->put;
  size_t max = atomic_load(&queue->max_record);
  if (queue->shared.closed)
    return KIN_QUEUE_CLOSED;
  if (max > 0 && put->data.len + put->partition_key.len > max)
    return KIN_QUEUE_TOO_LARGE;
  size_t size = kin_user_record_size_for(put, from->receipt != 0);
  if (!kin_budget_take(&queue->budget, size))
    return refuse_full(queue);
  pthread_mutex_lock(&queue->lock);
  kin_user_record *record = kin_ring_reserve(&queue->shared.in) ? copy(queue, from, size) : NULL;
  bool sealed = queue->shared.sealed, behind = false;
  signal *raised = NULL;
  if (record && !sealed) {
    bool had_batch = has_batch(queue);
    accept(queue, record, from);
    /* the first record starts the linger; the one that fills a batch ends it */
    if (queue->shared.in.count == 1 || (!had_batch && has_batch(queue)))
      raised = raise(&queue->records);
    behind = is_behind(queue, BEHIND);
  }
  unlock_and_send(queue, raised);
  if (record && !sealed)
    return behind ? KIN_QUEUE_BEHIND : KIN_QUEUE_ACCEPTED;
  if (record)
    kin_user_record_free(record);
  give_back(queue, size);
  return record ? KIN_QUEUE_CLOSED : KIN_QUEUE_NO_MEMORY;
}

kin_queue_view kin_queue_inspect(kin_queue *queue) {
  pthread_mutex_lock(&queue->lock);
  const kin_ring *in = &queue->shared.in;
  kin_queue_view view = {
      .count = in->count,
      .oldest = in->count > 0 ? kin_ring_first(in)->accepted : KIN_NEVER,
      .has_batch = has_batch(queue),
      .was_full = queue->shared.was_full,
      .flushes = kin_flush_marks_take(&queue->shared.flushes),
  };
  queue->shared.was_full = false;
  pthread_mutex_unlock(&queue->lock);
  return view;
}

size_t kin_queue_take(kin_queue *queue, kin_user_record **records, size_t max, size_t *left) {
  pthread_mutex_lock(&queue->lock);
  size_t count = kin_ring_take(&queue->shared.in, records, max);
  *left = queue->shared.in.count;
  queue->shared.blocked = false;
  unlock_and_send(queue, raise_caught_up(queue));
  return count;
}

void kin_queue_note_blocked(kin_queue *queue) {
  pthread_mutex_lock(&queue->lock);
  queue->shared.blocked = true;
  unlock_and_send(queue, raise_caught_up(queue));
}

void kin_queue_close(kin_queue *queue) {
  pthread_mutex_lock(&queue->lock);
  queue->shared.closed = true;
  pthread_mutex_unlock(&queue->lock);
}

bool kin_queue_closed(kin_queue *queue) {
  pthread_mutex_lock(&queue->lock);
  bool closed = queue->shared.closed || queue->shared.sealed;
  pthread_mutex_unlock(&queue->lock);
  return closed;
}

void kin_queue_seal(kin_queue *queue) {
  pthread_mutex_lock(&queue->lock);
  queue->shared.sealed = true;
  pthread_mutex_unlock(&queue->lock);
}

/* ---- out: from the machine to Lua ---- */

/* Frees the records, or keeps their memory in the pool. True: there is capacity again, and Lua has
 * to be notified. */
static bool free_records(kin_queue *queue, kin_record_list *list) {
  kin_record_list rest = {0};
  kin_user_record *record;
  size_t count = list->count, bytes = 0;
  pthread_mutex_lock(&queue->lock);
  while ((record = kin_record_list_take(list))) {
    size_t size = kin_user_record_size(record);
    bytes += size;
    if (!kin_record_pool_keep(&queue->shared.pool, record, size))
      kin_record_list_add(&rest, record);
  }
  pthread_mutex_unlock(&queue->lock);
  kin_record_list_free(&rest);
  return count > 0 && kin_budget_give_many(&queue->budget, count, bytes);
}

void kin_queue_complete(kin_queue *queue, kin_record_list *list, kin_time now) {
  kin_record_list for_lua = {0}, unwanted = {0};
  kin_user_record *record;
  size_t count = list->count;
  kin_outcome_counts counts = {0};
  if (count == 0)
    return;
  while ((record = kin_record_list_take(list))) {
    kin_outcome_counts_note(&counts, record, now);
    bool wanted = record->outcome != KIN_RECORD_STORED || record->receipt != 0;
    kin_record_list_add(wanted ? &for_lua : &unwanted, record);
  }
  kin_metrics_add(&queue->metrics, &counts);
  bool has_capacity = free_records(queue, &unwanted);
  pthread_mutex_lock(&queue->lock);
  queue->shared.open -= count;
  if (queue->shared.open == 0)
    pthread_cond_broadcast(&queue->progress);
  /* when no record is open, the budget reports no more capacity by itself */
  has_capacity = has_capacity || (queue->shared.open == 0 && queue->shared.wants_capacity);
  queue->shared.wants_capacity = queue->shared.wants_capacity && !has_capacity;
  bool notify = has_capacity || for_lua.count > 0;
  kin_record_list_append(&queue->shared.out, &for_lua);
  unlock_and_send(queue, notify ? raise(&queue->completed) : NULL);
}

void kin_queue_collect(kin_queue *queue, kin_record_list *list) {
  pthread_mutex_lock(&queue->lock);
  kin_record_list_append(list, &queue->shared.out);
  pthread_mutex_unlock(&queue->lock);
}

void kin_queue_free_record(kin_queue *queue, kin_user_record *record) {
  size_t size = kin_user_record_size(record);
  kin_user_record_free(record);
  give_back(queue, size);
}

void kin_queue_return(kin_queue *queue, kin_user_record *record) {
  record->receipt = 0;
  pthread_mutex_lock(&queue->lock);
  kin_record_list_add(&queue->shared.out, record);
  unlock_and_send(queue, raise(&queue->completed));
}

void kin_queue_add_unreported(kin_queue *queue, int change) {
  pthread_mutex_lock(&queue->lock);
  queue->shared.unreported += (size_t)change;
  pthread_mutex_unlock(&queue->lock);
}

kin_queue_counts kin_queue_count(kin_queue *queue) {
  pthread_mutex_lock(&queue->lock);
  kin_queue_counts counts = {
      .accepted = queue->shared.accepted,
      .accepted_bytes = queue->shared.accepted_bytes,
      .open = queue->shared.open,
      .max_record = atomic_load(&queue->max_record),
  };
  pthread_mutex_unlock(&queue->lock);
  pthread_mutex_lock(&queue->budget.lock);
  counts.held_bytes = queue->budget.bytes;
  counts.held_records = queue->budget.count;
  pthread_mutex_unlock(&queue->budget.lock);
  return counts;
}

/* ---- flushes and the end ---- */

uint64_t kin_queue_flush(kin_queue *queue) {
  pthread_mutex_lock(&queue->lock);
  uint64_t mark = ++queue->shared.flushes.asked;
  return unlock_and_send(queue, raise(&queue->records)) ? mark : 0;
}

static void note_progress(kin_queue *queue, unsigned flushes, bool ended) {
  pthread_mutex_lock(&queue->lock);
  queue->shared.flushes.done += flushes;
  queue->shared.ended = queue->shared.ended || ended;
  pthread_cond_broadcast(&queue->progress);
  unlock_and_send(queue, raise(&queue->completed));
}

void kin_queue_finish_flushes(kin_queue *queue, unsigned count) {
  note_progress(queue, count, false);
}

void kin_queue_end(kin_queue *queue) {
  note_progress(queue, 0, true);
}

bool kin_queue_flushed(kin_queue *queue, uint64_t mark) {
  pthread_mutex_lock(&queue->lock);
  bool flushed = queue->shared.ended || queue->shared.flushes.done >= mark;
  pthread_mutex_unlock(&queue->lock);
  return flushed;
}

bool kin_queue_ended(kin_queue *queue) {
  pthread_mutex_lock(&queue->lock);
  bool ended = queue->shared.ended;
  pthread_mutex_unlock(&queue->lock);
  return ended;
}

static size_t count_failed(const kin_record_list *list) {
  size_t failed = 0;
  for (const kin_user_record *record = list->first; record; record = record->next)
    failed += record->outcome != KIN_RECORD_STORED;
  return failed;
}

size_t kin_queue_wait(kin_queue *queue, struct timespec until) {
  pthread_mutex_lock(&queue->lock);
  while (queue->shared.open > 0 && !queue->shared.ended)
    if (pthread_cond_timedwait(&queue->progress, &queue->lock, &until) != 0)
      break;
  size_t left = queue->shared.open + count_failed(&queue->shared.out) + queue->shared.unreported;
  pthread_mutex_unlock(&queue->lock);
  return left;
}
