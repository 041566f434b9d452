#include "producer/door.h"

#include <stdlib.h>

#include "producer/ring.h"
#include "producer/record_pool.h"

/* A signal: part of the door, so that memory that is out cannot keep it from being sent. */
typedef struct signal {
  kin_message message; /* first */
  kin_door *door;
  bool under_way; /* under the door's lock */
} signal;

/* In requests: so many may wait for the machine before Lua waits for it, and so many afterwards. */
enum { BEHIND = 4, CAUGHT_UP = 2 };

struct kin_door {
  kin_engine *engine;
  kin_door_options options;
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
  pthread_mutex_lock(&self->door->lock);
  self->under_way = false;
  pthread_mutex_unlock(&self->door->lock);
  kin_door_release(self->door);
}

static void init_signal(signal *self, kin_door *door, kin_message_kind kind, uint64_t owner) {
  self->message = (kin_message){.kind = kind, .owner = owner, .free = free_signal};
  self->door = door;
}

/* Under the lock: whether the caller is to send it, once it has let go. */
static bool raise(signal *self) {
  bool first = !self->under_way;
  self->under_way = true;
  if (first)
    kin_door_hold(self->door);
  return first;
}

static void init_condition(pthread_cond_t *condition) {
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(condition, &attributes);
  pthread_condattr_destroy(&attributes);
}

kin_door *kin_door_create(kin_engine *engine, uint64_t producer, const kin_door_options *options) {
  kin_door *door = calloc(1, sizeof *door);
  if (!door)
    return NULL;
  kin_engine_hold(engine);
  door->engine = engine;
  door->options = *options;
  atomic_init(&door->references, 1);
  kin_budget_init(&door->budget, options->max_records, options->max_bytes);
  kin_causes_init(&door->causes);
  init_signal(&door->records, door, KIN_MESSAGE_RECORDS, producer);
  init_signal(&door->settled, door, KIN_MESSAGE_COMPLETED, producer);
  pthread_mutex_init(&door->lock, NULL);
  init_condition(&door->idle);
  return door;
}

kin_door *kin_door_hold(kin_door *door) {
  atomic_fetch_add(&door->references, 1);
  return door;
}

void kin_door_release(kin_door *door) {
  if (!door || atomic_fetch_sub(&door->references, 1) != 1)
    return;
  kin_ring_free(&door->in);
  kin_record_list_free(&door->out);
  while (door->shards)
    kin_door_remove_shard(door, door->shards);
  kin_record_pool_free(&door->pool);
  kin_budget_destroy(&door->budget);
  kin_causes_destroy(&door->causes);
  pthread_mutex_destroy(&door->lock);
  pthread_cond_destroy(&door->idle);
  kin_engine *engine = door->engine;
  free(door);
  kin_engine_release(engine);
}

kin_metrics *kin_door_metrics(kin_door *door) {
  return &door->metrics;
}

kin_causes *kin_door_causes(kin_door *door) {
  return &door->causes;
}

/* ---- signals ---- */

static bool tell_machine(kin_door *door) {
  return kin_engine_post(door->engine, &door->records.message);
}

static void tell_lua(kin_door *door) {
  kin_engine_tell(door->engine, &door->settled.message);
}

static void call_lua(kin_door *door) {
  pthread_mutex_lock(&door->lock);
  bool tell = raise(&door->settled);
  pthread_mutex_unlock(&door->lock);
  if (tell)
    tell_lua(door);
}

/* One record's part of the bound is free again. */
static void give_room(kin_door *door, size_t room) {
  if (kin_budget_give(&door->budget, room))
    call_lua(door);
}

void kin_door_note_failure(kin_door *door, const kin_error *error, uint64_t count, bool tell) {
  if (kin_causes_note(&door->causes, error, count, tell))
    call_lua(door);
}

/* ---- shards ---- */

kin_shard_metrics *kin_door_add_shard(kin_door *door, kin_slice shard_id) {
  kin_shard_metrics *shard = calloc(1, sizeof *shard);
  if (!shard)
    return NULL;
  kin_slice_copy(shard_id, shard->shard_id, sizeof shard->shard_id);
  atomic_init(&shard->share, 1000);
  pthread_mutex_lock(&door->lock);
  shard->next = door->shards;
  door->shards = shard;
  pthread_mutex_unlock(&door->lock);
  return shard;
}

void kin_door_remove_shard(kin_door *door, kin_shard_metrics *shard) {
  pthread_mutex_lock(&door->lock);
  kin_shard_metrics **link = &door->shards;
  while (*link != shard)
    link = &(*link)->next;
  *link = shard->next;
  pthread_mutex_unlock(&door->lock);
  free(shard);
}

kin_shard_metrics *kin_door_lock_shards(kin_door *door) {
  pthread_mutex_lock(&door->lock);
  return door->shards;
}

void kin_door_unlock_shards(kin_door *door) {
  pthread_mutex_unlock(&door->lock);
}

/* ---- in ---- */

/* Under the lock: the record is in. */
static void take_in(kin_door *door, kin_user_record *record, const kin_door_entry *entry) {
  kin_clock *clock = kin_engine_clock(door->engine);
  record->receipt = entry->receipt;
  record->random_key = entry->random_key;
  record->accepted = clock->coarse(clock);
  record->serial = ++door->last_serial;
  kin_ring_add(&door->in, record);
  door->accepted++;
  door->accepted_bytes += kin_user_record_bytes(record);
  door->open++;
}

static bool is_eager(const kin_door *door) {
  return door->in.count >= door->options.eager_records ||
         door->in.bytes >= door->options.eager_bytes;
}

/* Several requests' worth is inside, though nothing but the machine's own work keeps it there. */
static bool is_behind(const kin_door *door, size_t requests) {
  return !door->resting && !door->closed && !door->sealed &&
         (door->in.count > requests * door->options.eager_records ||
          door->in.bytes > requests * door->options.eager_bytes);
}

bool kin_door_is_behind(kin_door *door) {
  pthread_mutex_lock(&door->lock);
  bool behind = is_behind(door, CAUGHT_UP);
  door->awaited = door->awaited || behind;
  pthread_mutex_unlock(&door->lock);
  return behind;
}

/* Under the lock: whether Lua is to be told that it need not wait for the machine any more. */
static bool has_caught_up(kin_door *door) {
  if (!door->awaited || is_behind(door, CAUGHT_UP))
    return false;
  door->awaited = false;
  return raise(&door->settled);
}

/* Somebody found no room: what is inside must not linger. */
static kin_door_answer refuse(kin_door *door) {
  pthread_mutex_lock(&door->lock);
  bool tell = !door->refused && raise(&door->records);
  door->refused = door->wants_room = true;
  pthread_mutex_unlock(&door->lock);
  if (tell)
    tell_machine(door);
  return KIN_DOOR_FULL;
}

/* Copies it, to a spare one's memory or to fresh memory; under the lock, which is let go meanwhile
 * if that may take long. NULL when memory is out. */
static kin_user_record *copy(kin_door *door, const kin_door_entry *entry, size_t room) {
  void *memory = kin_record_pool_take(&door->pool, room);
  if (memory)
    return kin_user_record_init(memory, &entry->put, entry->receipt != 0);
  pthread_mutex_unlock(&door->lock);
  memory = malloc(room);
  if (memory)
    kin_user_record_init(memory, &entry->put, entry->receipt != 0);
  pthread_mutex_lock(&door->lock);
  return memory;
}

kin_door_answer kin_door_enter(kin_door *door, const kin_door_entry *entry) {
  const kin_put *put = &entry->put;
  size_t max = atomic_load(&door->max_record);
  if (door->closed)
    return KIN_DOOR_CLOSED;
  if (max > 0 && put->data.len + put->partition_key.len > max)
    return KIN_DOOR_TOO_LARGE;
  size_t room = kin_user_record_size(put, entry->receipt != 0);
  if (!kin_budget_take(&door->budget, room))
    return refuse(door);
  pthread_mutex_lock(&door->lock);
  kin_user_record *record = kin_ring_reserve(&door->in) ? copy(door, entry, room) : NULL;
  bool sealed = door->sealed, tell = false, behind = false;
  if (record && !sealed) {
    bool eager = is_eager(door);
    take_in(door, record, entry);
    /* the first one, so that it leaves in time; and the one that makes it enough */
    if (door->in.count == 1 || (!eager && is_eager(door)))
      tell = raise(&door->records);
    behind = is_behind(door, BEHIND);
  }
  pthread_mutex_unlock(&door->lock);
  if (tell)
    tell_machine(door);
  if (record && !sealed)
    return behind ? KIN_DOOR_BEHIND : KIN_DOOR_TAKEN;
  if (record)
    kin_user_record_free(record);
  give_room(door, room);
  return record ? KIN_DOOR_CLOSED : KIN_DOOR_NO_MEMORY;
}

kin_door_view kin_door_look(kin_door *door) {
  pthread_mutex_lock(&door->lock);
  kin_door_view view = {
      .count = door->in.count,
      .oldest = door->in.count > 0 ? kin_ring_first(&door->in)->accepted : KIN_NEVER,
      .eager = is_eager(door),
      .refused = door->refused,
      .flushes = (unsigned)(door->flushes_asked - door->flushes_seen),
  };
  door->refused = false;
  door->flushes_seen = door->flushes_asked;
  pthread_mutex_unlock(&door->lock);
  return view;
}

size_t kin_door_take(kin_door *door, kin_user_record **records, size_t most, size_t *left) {
  pthread_mutex_lock(&door->lock);
  size_t count = kin_ring_take(&door->in, records, most);
  *left = door->in.count;
  door->resting = false;
  bool tell = has_caught_up(door);
  pthread_mutex_unlock(&door->lock);
  if (tell)
    tell_lua(door);
  return count;
}

void kin_door_rest(kin_door *door) {
  pthread_mutex_lock(&door->lock);
  door->resting = true;
  bool tell = has_caught_up(door);
  pthread_mutex_unlock(&door->lock);
  if (tell)
    tell_lua(door);
}

void kin_door_close(kin_door *door) {
  pthread_mutex_lock(&door->lock);
  door->closed = true;
  pthread_mutex_unlock(&door->lock);
}

bool kin_door_closed(kin_door *door) {
  pthread_mutex_lock(&door->lock);
  bool closed = door->closed || door->sealed;
  pthread_mutex_unlock(&door->lock);
  return closed;
}

void kin_door_set_max_record(kin_door *door, size_t bytes) {
  atomic_store(&door->max_record, bytes);
}

/* ---- out ---- */

/* Those that nobody asks after. Frees them, or keeps their memory; gives back their places. */
static bool free_records(kin_door *door, kin_record_list *list) {
  kin_record_list rest = {0};
  kin_user_record *record;
  size_t count = list->count, room = 0;
  pthread_mutex_lock(&door->lock);
  while ((record = kin_record_list_take(list))) {
    size_t size = kin_user_record_room(record);
    room += size;
    if (!kin_record_pool_keep(&door->pool, record, size))
      kin_record_list_add(&rest, record);
  }
  pthread_mutex_unlock(&door->lock);
  kin_record_list_free(&rest);
  return count > 0 && kin_budget_give_many(&door->budget, count, room);
}

void kin_door_settle(kin_door *door, kin_record_list *list, kin_time now) {
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
  kin_metrics_add(&door->metrics, &counted);
  bool has_room = free_records(door, &over);
  pthread_mutex_lock(&door->lock);
  door->open -= count;
  if (door->open == 0)
    pthread_cond_broadcast(&door->idle);
  /* when nothing is open any more, no more room will come of itself */
  has_room = has_room || (door->open == 0 && door->wants_room);
  door->wants_room = door->wants_room && !has_room;
  bool tell = (has_room || out.count > 0) && raise(&door->settled);
  kin_record_list_append(&door->out, &out);
  pthread_mutex_unlock(&door->lock);
  if (tell)
    tell_lua(door);
}

void kin_door_collect(kin_door *door, kin_record_list *list) {
  pthread_mutex_lock(&door->lock);
  kin_record_list_append(list, &door->out);
  pthread_mutex_unlock(&door->lock);
}

void kin_door_leave(kin_door *door, kin_user_record *record) {
  size_t room = kin_user_record_room(record);
  kin_user_record_free(record);
  give_room(door, room);
}

void kin_door_return(kin_door *door, kin_user_record *record) {
  record->receipt = 0;
  pthread_mutex_lock(&door->lock);
  kin_record_list_add(&door->out, record);
  bool tell = raise(&door->settled);
  pthread_mutex_unlock(&door->lock);
  if (tell)
    tell_lua(door);
}

/* ---- flushes and ends ---- */

uint64_t kin_door_flush(kin_door *door) {
  pthread_mutex_lock(&door->lock);
  uint64_t mark = ++door->flushes_asked;
  bool tell = raise(&door->records);
  pthread_mutex_unlock(&door->lock);
  return !tell || tell_machine(door) ? mark : 0;
}

static void tell_flushed(kin_door *door, unsigned count, bool ended) {
  pthread_mutex_lock(&door->lock);
  door->flushes_done += count;
  door->ended = door->ended || ended;
  pthread_cond_broadcast(&door->idle);
  bool tell = raise(&door->settled);
  pthread_mutex_unlock(&door->lock);
  if (tell)
    tell_lua(door);
}

void kin_door_finish_flushes(kin_door *door, unsigned count) {
  tell_flushed(door, count, false);
}

void kin_door_seal(kin_door *door) {
  pthread_mutex_lock(&door->lock);
  door->sealed = true;
  pthread_mutex_unlock(&door->lock);
}

void kin_door_end(kin_door *door) {
  tell_flushed(door, 0, true);
}

bool kin_door_flushed(kin_door *door, uint64_t mark) {
  pthread_mutex_lock(&door->lock);
  bool flushed = door->ended || door->flushes_done >= mark;
  pthread_mutex_unlock(&door->lock);
  return flushed;
}

bool kin_door_settled(kin_door *door) {
  pthread_mutex_lock(&door->lock);
  bool settled = door->ended;
  pthread_mutex_unlock(&door->lock);
  return settled;
}

kin_door_counts kin_door_count(kin_door *door) {
  pthread_mutex_lock(&door->lock);
  kin_door_counts counts = {
      .accepted = door->accepted,
      .accepted_bytes = door->accepted_bytes,
      .open = door->open,
      .max_record = atomic_load(&door->max_record),
  };
  pthread_mutex_unlock(&door->lock);
  pthread_mutex_lock(&door->budget.lock);
  counts.held = door->budget.bytes;
  counts.held_records = door->budget.count;
  pthread_mutex_unlock(&door->budget.lock);
  return counts;
}

void kin_door_note_untold(kin_door *door, int more) {
  pthread_mutex_lock(&door->lock);
  door->untold += (size_t)more;
  pthread_mutex_unlock(&door->lock);
}

static size_t count_failed(const kin_record_list *list) {
  size_t failed = 0;
  for (const kin_user_record *record = list->first; record; record = record->next)
    failed += record->outcome != KIN_RECORD_STORED;
  return failed;
}

size_t kin_door_wait(kin_door *door, struct timespec until) {
  pthread_mutex_lock(&door->lock);
  while (door->open > 0 && !door->ended)
    if (pthread_cond_timedwait(&door->idle, &door->lock, &until) != 0)
      break;
  size_t left = door->open + count_failed(&door->out) + door->untold;
  pthread_mutex_unlock(&door->lock);
  return left;
}
