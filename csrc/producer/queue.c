#include "producer/queue.h"

#include <stdlib.h>

#include "producer/ring.h"
#include "producer/record_pool.h"

/* A signal: part of the queue, so that memory that is out cannot keep it from being sent. */
typedef struct signal {
  kin_message message; /* first */
  kin_queue *queue;
  bool under_way; /* under the queue's lock */
} signal;

/* In requests: so many may wait for the machine before Lua waits for it, and so many afterwards. */
enum { BEHIND = 4, CAUGHT_UP = 2 };

struct kin_queue {
  kin_engine *engine;
  kin_queue_options options;
  atomic_int references;
  kin_budget budget;
  kin_metrics metrics;
  kin_causes causes;
  atomic_size_t max_record; /* 0: not known yet */
  signal records, settled;

  pthread_mutex_t lock; /* of everything below */
  pthread_cond_t idle;  /* nothing is open any more */
  kin_ring in;
  kin_record_list out;
  kin_shard_metrics *shards;
  kin_record_pool pool;
  uint64_t last_serial;
  size_t accepted, accepted_bytes, open;
  size_t untold; /* failed ones that were collected, and not looked at */
  uint64_t flushes_asked, flushes_seen, flushes_done;
  bool refused;    /* somebody found no room since the machine last looked */
  bool wants_room; /* and since Lua was last told */
  bool resting;    /* the machine leaves them inside, as it can send no more now */
  bool awaited;    /* Lua waits until the machine has caught up */
  bool closed, sealed, ended;
};

/* ---- life ---- */

static void free_signal(kin_message *message) {
  signal *self = (signal *)message;
  pthread_mutex_lock(&self->queue->lock);
  self->under_way = false;
  pthread_mutex_unlock(&self->queue->lock);
  kin_queue_release(self->queue);
}

static void init_signal(signal *self, kin_queue *queue, kin_message_kind kind, uint64_t owner) {
  self->message = (kin_message){.kind = kind, .owner = owner, .free = free_signal};
  self->queue = queue;
}

/* Under the lock: whether the caller is to send it, once it has let go. */
static bool raise(signal *self) {
  bool first = !self->under_way;
  self->under_way = true;
  if (first)
    kin_queue_hold(self->queue);
  return first;
}

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
  kin_causes_init(&queue->causes);
  init_signal(&queue->records, queue, KIN_MESSAGE_RECORDS, producer);
  init_signal(&queue->settled, queue, KIN_MESSAGE_COMPLETED, producer);
  pthread_mutex_init(&queue->lock, NULL);
  init_condition(&queue->idle);
  return queue;
}

kin_queue *kin_queue_hold(kin_queue *queue) {
  atomic_fetch_add(&queue->references, 1);
  return queue;
}

void kin_queue_release(kin_queue *queue) {
  if (!queue || atomic_fetch_sub(&queue->references, 1) != 1)
    return;
  kin_ring_free(&queue->in);
  kin_record_list_free(&queue->out);
  while (queue->shards)
    kin_queue_remove_shard(queue, queue->shards);
  kin_record_pool_free(&queue->pool);
  kin_budget_destroy(&queue->budget);
  kin_causes_destroy(&queue->causes);
  pthread_mutex_destroy(&queue->lock);
  pthread_cond_destroy(&queue->idle);
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

/* ---- signals ---- */

static bool tell_machine(kin_queue *queue) {
  return kin_engine_post(queue->engine, &queue->records.message);
}

static void tell_lua(kin_queue *queue) {
  kin_engine_notify(queue->engine, &queue->settled.message);
}

static void call_lua(kin_queue *queue) {
  pthread_mutex_lock(&queue->lock);
  bool tell = raise(&queue->settled);
  pthread_mutex_unlock(&queue->lock);
  if (tell)
    tell_lua(queue);
}

/* One record's part of the bound is free again. */
static void give_room(kin_queue *queue, size_t room) {
  if (kin_budget_give(&queue->budget, room))
    call_lua(queue);
}

void kin_queue_note_failure(kin_queue *queue, const kin_error *error, uint64_t count, bool tell) {
  if (kin_causes_note(&queue->causes, error, count, tell))
    call_lua(queue);
}

/* ---- shards ---- */

kin_shard_metrics *kin_queue_add_shard(kin_queue *queue, kin_slice shard_id) {
  kin_shard_metrics *shard = calloc(1, sizeof *shard);
  if (!shard)
    return NULL;
  kin_slice_copy(shard_id, shard->shard_id, sizeof shard->shard_id);
  atomic_init(&shard->share, 1000);
  pthread_mutex_lock(&queue->lock);
  shard->next = queue->shards;
  queue->shards = shard;
  pthread_mutex_unlock(&queue->lock);
  return shard;
}

void kin_queue_remove_shard(kin_queue *queue, kin_shard_metrics *shard) {
  pthread_mutex_lock(&queue->lock);
  kin_shard_metrics **link = &queue->shards;
  while (*link != shard)
    link = &(*link)->next;
  *link = shard->next;
  pthread_mutex_unlock(&queue->lock);
  free(shard);
}

kin_shard_metrics *kin_queue_lock_shards(kin_queue *queue) {
  pthread_mutex_lock(&queue->lock);
  return queue->shards;
}

void kin_queue_unlock_shards(kin_queue *queue) {
  pthread_mutex_unlock(&queue->lock);
}

/* ---- in ---- */

/* Under the lock: the record is in. */
static void take_in(kin_queue *queue, kin_user_record *record, const kin_queue_entry *entry) {
  kin_clock *clock = kin_engine_clock(queue->engine);
  record->receipt = entry->receipt;
  record->random_key = entry->random_key;
  record->accepted = clock->coarse(clock);
  record->serial = ++queue->last_serial;
  kin_ring_add(&queue->in, record);
  queue->accepted++;
  queue->accepted_bytes += kin_user_record_bytes(record);
  queue->open++;
}

static bool is_eager(const kin_queue *queue) {
  return queue->in.count >= queue->options.eager_records ||
         queue->in.bytes >= queue->options.eager_bytes;
}

/* Several requests' worth is inside, though nothing but the machine's own work keeps it there. */
static bool is_behind(const kin_queue *queue, size_t requests) {
  return !queue->resting && !queue->closed && !queue->sealed &&
         (queue->in.count > requests * queue->options.eager_records ||
          queue->in.bytes > requests * queue->options.eager_bytes);
}

bool kin_queue_is_behind(kin_queue *queue) {
  pthread_mutex_lock(&queue->lock);
  bool behind = is_behind(queue, CAUGHT_UP);
  queue->awaited = queue->awaited || behind;
  pthread_mutex_unlock(&queue->lock);
  return behind;
}

/* Under the lock: whether Lua is to be told that it need not wait for the machine any more. */
static bool has_caught_up(kin_queue *queue) {
  if (!queue->awaited || is_behind(queue, CAUGHT_UP))
    return false;
  queue->awaited = false;
  return raise(&queue->settled);
}

/* Somebody found no room: what is inside must not linger. */
static kin_queue_answer refuse(kin_queue *queue) {
  pthread_mutex_lock(&queue->lock);
  bool tell = !queue->refused && raise(&queue->records);
  queue->refused = queue->wants_room = true;
  pthread_mutex_unlock(&queue->lock);
  if (tell)
    tell_machine(queue);
  return KIN_QUEUE_FULL;
}

/* Copies it, to a spare one's memory or to fresh memory; under the lock, which is let go meanwhile
 * if that may take long. NULL when memory is out. */
static kin_user_record *copy(kin_queue *queue, const kin_queue_entry *entry, size_t room) {
  void *memory = kin_record_pool_take(&queue->pool, room);
  if (memory)
    return kin_user_record_init(memory, &entry->put, entry->receipt != 0);
  pthread_mutex_unlock(&queue->lock);
  memory = malloc(room);
  if (memory)
    kin_user_record_init(memory, &entry->put, entry->receipt != 0);
  pthread_mutex_lock(&queue->lock);
  return memory;
}

kin_queue_answer kin_queue_add(kin_queue *queue, const kin_queue_entry *entry) {
  const kin_put *put = &entry->put;
  size_t max = atomic_load(&queue->max_record);
  if (queue->closed)
    return KIN_QUEUE_CLOSED;
  if (max > 0 && put->data.len + put->partition_key.len > max)
    return KIN_QUEUE_TOO_LARGE;
  size_t room = kin_user_record_size(put, entry->receipt != 0);
  if (!kin_budget_take(&queue->budget, room))
    return refuse(queue);
  pthread_mutex_lock(&queue->lock);
  kin_user_record *record = kin_ring_reserve(&queue->in) ? copy(queue, entry, room) : NULL;
  bool sealed = queue->sealed, tell = false, behind = false;
  if (record && !sealed) {
    bool eager = is_eager(queue);
    take_in(queue, record, entry);
    /* the first one, so that it leaves in time; and the one that makes it enough */
    if (queue->in.count == 1 || (!eager && is_eager(queue)))
      tell = raise(&queue->records);
    behind = is_behind(queue, BEHIND);
  }
  pthread_mutex_unlock(&queue->lock);
  if (tell)
    tell_machine(queue);
  if (record && !sealed)
    return behind ? KIN_QUEUE_BEHIND : KIN_QUEUE_TAKEN;
  if (record)
    kin_user_record_free(record);
  give_room(queue, room);
  return record ? KIN_QUEUE_CLOSED : KIN_QUEUE_NO_MEMORY;
}

kin_queue_view kin_queue_look(kin_queue *queue) {
  pthread_mutex_lock(&queue->lock);
  kin_queue_view view = {
      .count = queue->in.count,
      .oldest = queue->in.count > 0 ? kin_ring_first(&queue->in)->accepted : KIN_NEVER,
      .eager = is_eager(queue),
      .refused = queue->refused,
      .flushes = (unsigned)(queue->flushes_asked - queue->flushes_seen),
  };
  queue->refused = false;
  queue->flushes_seen = queue->flushes_asked;
  pthread_mutex_unlock(&queue->lock);
  return view;
}

size_t kin_queue_take(kin_queue *queue, kin_user_record **records, size_t most, size_t *left) {
  pthread_mutex_lock(&queue->lock);
  size_t count = kin_ring_take(&queue->in, records, most);
  *left = queue->in.count;
  queue->resting = false;
  bool tell = has_caught_up(queue);
  pthread_mutex_unlock(&queue->lock);
  if (tell)
    tell_lua(queue);
  return count;
}

void kin_queue_rest(kin_queue *queue) {
  pthread_mutex_lock(&queue->lock);
  queue->resting = true;
  bool tell = has_caught_up(queue);
  pthread_mutex_unlock(&queue->lock);
  if (tell)
    tell_lua(queue);
}

void kin_queue_close(kin_queue *queue) {
  pthread_mutex_lock(&queue->lock);
  queue->closed = true;
  pthread_mutex_unlock(&queue->lock);
}

bool kin_queue_closed(kin_queue *queue) {
  pthread_mutex_lock(&queue->lock);
  bool closed = queue->closed || queue->sealed;
  pthread_mutex_unlock(&queue->lock);
  return closed;
}

void kin_queue_set_max_record(kin_queue *queue, size_t bytes) {
  atomic_store(&queue->max_record, bytes);
}

/* ---- out ---- */

/* Those that nobody asks after. Frees them, or keeps their memory; gives back their places. */
static bool free_records(kin_queue *queue, kin_record_list *list) {
  kin_record_list rest = {0};
  kin_user_record *record;
  size_t count = list->count, room = 0;
  pthread_mutex_lock(&queue->lock);
  while ((record = kin_record_list_take(list))) {
    size_t size = kin_user_record_room(record);
    room += size;
    if (!kin_record_pool_keep(&queue->pool, record, size))
      kin_record_list_add(&rest, record);
  }
  pthread_mutex_unlock(&queue->lock);
  kin_record_list_free(&rest);
  return count > 0 && kin_budget_give_many(&queue->budget, count, room);
}

void kin_queue_settle(kin_queue *queue, kin_record_list *list, kin_time now) {
  kin_record_list out = {0}, over = {0};
  kin_user_record *record;
  size_t count = list->count;
  kin_outcome_counts counted = {0};
  if (count == 0)
    return;
  while ((record = kin_record_list_take(list))) {
    kin_outcome_counts_note(&counted, record, now);
    bool asked_for = record->outcome != KIN_RECORD_STORED || record->receipt != 0;
    kin_record_list_add(asked_for ? &out : &over, record);
  }
  kin_metrics_add(&queue->metrics, &counted);
  bool has_room = free_records(queue, &over);
  pthread_mutex_lock(&queue->lock);
  queue->open -= count;
  if (queue->open == 0)
    pthread_cond_broadcast(&queue->idle);
  /* when nothing is open any more, no more room will come of itself */
  has_room = has_room || (queue->open == 0 && queue->wants_room);
  queue->wants_room = queue->wants_room && !has_room;
  bool tell = (has_room || out.count > 0) && raise(&queue->settled);
  kin_record_list_append(&queue->out, &out);
  pthread_mutex_unlock(&queue->lock);
  if (tell)
    tell_lua(queue);
}

void kin_queue_collect(kin_queue *queue, kin_record_list *list) {
  pthread_mutex_lock(&queue->lock);
  kin_record_list_append(list, &queue->out);
  pthread_mutex_unlock(&queue->lock);
}

void kin_queue_free_record(kin_queue *queue, kin_user_record *record) {
  size_t room = kin_user_record_room(record);
  kin_user_record_free(record);
  give_room(queue, room);
}

void kin_queue_return(kin_queue *queue, kin_user_record *record) {
  record->receipt = 0;
  pthread_mutex_lock(&queue->lock);
  kin_record_list_add(&queue->out, record);
  bool tell = raise(&queue->settled);
  pthread_mutex_unlock(&queue->lock);
  if (tell)
    tell_lua(queue);
}

/* ---- flushes and ends ---- */

uint64_t kin_queue_flush(kin_queue *queue) {
  pthread_mutex_lock(&queue->lock);
  uint64_t mark = ++queue->flushes_asked;
  bool tell = raise(&queue->records);
  pthread_mutex_unlock(&queue->lock);
  return !tell || tell_machine(queue) ? mark : 0;
}

static void tell_flushed(kin_queue *queue, unsigned count, bool ended) {
  pthread_mutex_lock(&queue->lock);
  queue->flushes_done += count;
  queue->ended = queue->ended || ended;
  pthread_cond_broadcast(&queue->idle);
  bool tell = raise(&queue->settled);
  pthread_mutex_unlock(&queue->lock);
  if (tell)
    tell_lua(queue);
}

void kin_queue_finish_flushes(kin_queue *queue, unsigned count) {
  tell_flushed(queue, count, false);
}

void kin_queue_seal(kin_queue *queue) {
  pthread_mutex_lock(&queue->lock);
  queue->sealed = true;
  pthread_mutex_unlock(&queue->lock);
}

void kin_queue_end(kin_queue *queue) {
  tell_flushed(queue, 0, true);
}

bool kin_queue_flushed(kin_queue *queue, uint64_t mark) {
  pthread_mutex_lock(&queue->lock);
  bool flushed = queue->ended || queue->flushes_done >= mark;
  pthread_mutex_unlock(&queue->lock);
  return flushed;
}

bool kin_queue_settled(kin_queue *queue) {
  pthread_mutex_lock(&queue->lock);
  bool settled = queue->ended;
  pthread_mutex_unlock(&queue->lock);
  return settled;
}

kin_queue_counts kin_queue_count(kin_queue *queue) {
  pthread_mutex_lock(&queue->lock);
  kin_queue_counts counts = {
      .accepted = queue->accepted,
      .accepted_bytes = queue->accepted_bytes,
      .open = queue->open,
      .max_record = atomic_load(&queue->max_record),
  };
  pthread_mutex_unlock(&queue->lock);
  pthread_mutex_lock(&queue->budget.lock);
  counts.held = queue->budget.bytes;
  counts.held_records = queue->budget.count;
  pthread_mutex_unlock(&queue->budget.lock);
  return counts;
}

void kin_queue_note_untold(kin_queue *queue, int more) {
  pthread_mutex_lock(&queue->lock);
  queue->untold += (size_t)more;
  pthread_mutex_unlock(&queue->lock);
}

static size_t count_failed(const kin_record_list *list) {
  size_t failed = 0;
  for (const kin_user_record *record = list->first; record; record = record->next)
    failed += record->outcome != KIN_RECORD_STORED;
  return failed;
}

size_t kin_queue_wait(kin_queue *queue, struct timespec until) {
  pthread_mutex_lock(&queue->lock);
  while (queue->open > 0 && !queue->ended)
    if (pthread_cond_timedwait(&queue->idle, &queue->lock, &until) != 0)
      break;
  size_t left = queue->open + count_failed(&queue->out) + queue->untold;
  pthread_mutex_unlock(&queue->lock);
  return left;
}
