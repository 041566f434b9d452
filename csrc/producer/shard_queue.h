/* shard: the records that wait for one shard, and when they may go. Shard queues with something to
 * send are in the queue of their producer (OPEN); those that have to wait for their limiter, for a
 * rest, or for what is under way, are out of it (BLOCKED), so that they hold up nobody. Engine
 * thread. */
#ifndef KIN_PRODUCER_SHARD_QUEUE_H
#define KIN_PRODUCER_SHARD_QUEUE_H

#include "base/timers.h"
#include "producer/queue.h"
#include "producer/limiter.h"

typedef struct kin_shard_queue kin_shard_queue;
struct kin_shard_queue {
  kin_hash first, last;       /* what it holds */
  kin_shard_metrics *metrics; /* its id, and what is told of it; owned by the queue */
  kin_record_list waiting;
  enum { KIN_SHARD_QUEUE_EMPTY, KIN_SHARD_QUEUE_OPEN, KIN_SHARD_QUEUE_BLOCKED } state;
  bool due; /* its oldest record has waited long enough */
  bool
      retired; /* its shard is not in the map any more: it lives until nothing of it is under way */
  bool reused; /* while the map is replaced: the new one has it, too */
  unsigned in_flight; /* entries under way */
  unsigned failures;  /* in a row */
  kin_time rest_until;
  kin_limiter limiter;
  kin_timer timer;
  kin_shard_queue *next, *before; /* in the queue; next also among those that are gone */
};

/* NULL when memory is out. */
kin_shard_queue *kin_shard_queue_create(kin_queue *queue, kin_slice shard_id);

/* The queue may forget its shard; NULL: it is to remember it. */
void kin_shard_queue_free(kin_shard_queue *shard, kin_queue *queue);

/* The rules by which shards of a producer wait. */
typedef struct kin_shard_queues {
  kin_time linger, ttl;  /* ttl: KIN_NEVER when records live for ever */
  bool ordered;          /* one entry under way a shard */
  size_t full_bytes;     /* as many make a full entry; 0: each record is one */
  uint64_t flush_serial; /* up to here nothing lingers */

  kin_shard_queue *first_open, *last_open; /* the open ones */
  size_t open_count;
  size_t records, bytes;      /* that wait in open shards */
  size_t full, full_in_bytes; /* full entries among them */
  bool due;                   /* one of the open ones is */
  kin_timers timers;          /* room for every shard */
} kin_shard_queues;

void kin_shard_queues_free(kin_shard_queues *shards);

/* Records for this shard, in order of their serials; the list is empty afterwards. */
void kin_shard_queues_add(kin_shard_queues *shards, kin_shard_queue *shard,
                          kin_record_list *records, kin_time now);

/* The first open shard leaves the queue, to be looked at; NULL: there is none. Its waiting records
 * may be taken; then it goes back by kin_shard_queues_return. */
kin_shard_queue *kin_shard_queues_next(kin_shard_queues *shards);
void kin_shard_queues_return(kin_shard_queues *shards, kin_shard_queue *shard, kin_time now);

/* Whether its oldest record may go now, though a batch is not full. */
bool kin_shard_queues_ready(const kin_shard_queues *shards, const kin_shard_queue *shard,
                            kin_time now);

/* Something of this shard has landed, or its rest was changed. */
void kin_shard_queues_look_again(kin_shard_queues *shards, kin_shard_queue *shard, kin_time now);

/* Out of everything; its records are appended to `records`. */
void kin_shard_queues_take_out(kin_shard_queues *shards, kin_shard_queue *shard,
                               kin_record_list *records);

/* A shard whose time has come, or NULL: it is open again, or due, or has records that expired,
 * which are put into `expired`. */
kin_shard_queue *kin_shard_queues_wake(kin_shard_queues *shards, kin_time now,
                                       kin_record_list *expired);

/* From now on the records up to `serial` do not linger. */
void kin_shard_queues_flush(kin_shard_queues *shards, uint64_t serial);

#endif
