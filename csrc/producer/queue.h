/* queue: where records pass between the Lua thread and the producer's machine: in, one by one, when
 * there is room; and out, those that somebody waits for and those that failed. Both threads use it,
 * under its lock; a record inside it belongs to it. Counted: the handle, the machine, and each
 * signal that is on its way hold it. What a record takes of the bound is given back when the record
 * is freed, which is after Lua has looked at it if somebody waits for it or it failed.
 *
 * Messages, each at most once under way: KIN_MESSAGE_RECORDS, Lua thread -> machine: look inside;
 * KIN_MESSAGE_COMPLETED, either thread -> Lua: look inside, or there is room again. */
#ifndef KIN_PRODUCER_QUEUE_H
#define KIN_PRODUCER_QUEUE_H

#include <time.h>

#include "engine/engine.h"
#include "producer/causes.h"
#include "producer/metrics.h"

typedef struct kin_queue kin_queue;

typedef struct kin_queue_options {
  size_t max_records, max_bytes;
  size_t eager_records, eager_bytes; /* when so much is inside, the machine is to look at once */
} kin_queue_options;

/* One reference. NULL when memory is out. */
kin_queue *kin_queue_create(kin_engine *engine, uint64_t producer,
                            const kin_queue_options *options);
kin_queue *kin_queue_hold(kin_queue *queue);
void kin_queue_release(kin_queue *queue);

kin_metrics *kin_queue_metrics(kin_queue *queue);
kin_causes *kin_queue_causes(kin_queue *queue);

/* The user hears of a transient failure when it comes so often in a row. */
enum { KIN_TOLD_AFTER = 3 };

/* Engine thread: `count` attempts at records failed. `tell`: the user is to hear of it, soon. */
void kin_queue_note_failure(kin_queue *queue, const kin_error *error, uint64_t count, bool tell);

/* ---- Lua thread ---- */

typedef enum {
  KIN_QUEUE_TAKEN,
  KIN_QUEUE_BEHIND, /* taken; but the machine is behind, and who can wait for it should */
  KIN_QUEUE_FULL,
  KIN_QUEUE_CLOSED,
  KIN_QUEUE_TOO_LARGE, /* for the stream */
  KIN_QUEUE_NO_MEMORY,
} kin_queue_answer;

typedef struct kin_queue_entry {
  kin_put put;
  uint64_t receipt; /* the handle that waits for it, or 0 */
  bool random_key;
} kin_queue_entry;

/* Copies the record. */
kin_queue_answer kin_queue_add(kin_queue *queue, const kin_queue_entry *entry);

/* Whether the machine is behind with its own work; if so, Lua is told when it has caught up. What
 * lies here for long has left the processor's caches when it is sent. */
bool kin_queue_is_behind(kin_queue *queue);

/* No more records come in. */
void kin_queue_close(kin_queue *queue);
bool kin_queue_closed(kin_queue *queue);

/* Everything that is for Lua. */
void kin_queue_collect(kin_queue *queue, kin_record_list *list);

/* Frees a record that was collected, and its place. */
void kin_queue_free_record(kin_queue *queue, kin_user_record *record);

/* A failed record that was collected for somebody who has gone: it is collected again, for nobody
 * in particular. */
void kin_queue_return(kin_queue *queue, kin_user_record *record);

typedef struct kin_queue_counts {
  size_t accepted, accepted_bytes;
  size_t open;               /* neither stored nor failed */
  size_t held, held_records; /* bytes and records that take part of the bound */
  size_t max_record;         /* bytes; 0: not known yet */
} kin_queue_counts;

kin_queue_counts kin_queue_count(kin_queue *queue);

/* The shards, under the lock: each is looked at between these two, by nothing that can raise. */
kin_shard_metrics *kin_queue_lock_shards(kin_queue *queue);
void kin_queue_unlock_shards(kin_queue *queue);

/* Asks for everything that is inside to be sent now. Gives the mark to ask for, or 0 when the
 * engine is stopped. */
uint64_t kin_queue_flush(kin_queue *queue);
bool kin_queue_flushed(kin_queue *queue, uint64_t mark);

/* The machine is gone, or is not needed any more: nothing is open. */
bool kin_queue_settled(kin_queue *queue);

/* So many more, or fewer, of the collected ones failed and nobody has looked at them. */
void kin_queue_note_untold(kin_queue *queue, int more);

/* Waits until nothing is open, at most until so late. Returns how many records are not stored that
 * nobody was told of. */
size_t kin_queue_wait(kin_queue *queue, struct timespec until);

/* ---- the machine ---- */

typedef struct kin_queue_view {
  size_t count;
  kin_time oldest;  /* when it was accepted */
  bool eager;       /* there is enough */
  bool refused;     /* somebody found no room: nothing is to linger */
  unsigned flushes; /* asked for since the last look, for what is inside now */
} kin_queue_view;

kin_queue_view kin_queue_look(kin_queue *queue);

/* What is inside, at most so many, and how many are left. Their order is kept, their lists are the
 * caller's. */
size_t kin_queue_take(kin_queue *queue, kin_user_record **records, size_t most, size_t *left);

/* The machine can send no more now: they stay where they are. */
void kin_queue_rest(kin_queue *queue);

/* These have found their outcome: they are freed, or kept for Lua. */
void kin_queue_settle(kin_queue *queue, kin_record_list *list, kin_time now);

/* So many flushes are done, in the order in which they were asked for. */
void kin_queue_finish_flushes(kin_queue *queue, unsigned count);

/* Another shard to be told of, or one that is no more. NULL when memory is out. */
kin_shard_metrics *kin_queue_add_shard(kin_queue *queue, kin_slice shard_id);
void kin_queue_remove_shard(kin_queue *queue, kin_shard_metrics *shard);

/* The largest record the stream takes. */
void kin_queue_set_max_record(kin_queue *queue, size_t bytes);

/* The end of the machine: nothing comes in any more; and, once what was inside is taken and
 * settled, the last word. */
void kin_queue_seal(kin_queue *queue);
void kin_queue_end(kin_queue *queue);

#endif
