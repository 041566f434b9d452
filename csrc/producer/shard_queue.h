/* shard_queue: the records that wait for one shard, and when they may be sent. kin_shard_queues are
 * those of a producer: the open ones in a list, and the rules by which records wait. Engine thread.
 *
 *   EMPTY ──> OPEN     records wait, and may be sent as soon as a batch is due; in the list
 *   EMPTY ──> BLOCKED  records wait for the limiter, the back-off, or (ordered) an entry in flight;
 *                      not in the list, so that they delay no other shard
 *   OPEN <──> BLOCKED  by the timer, by an answer, or because entries were sent
 *   OPEN, BLOCKED ──> EMPTY   all records are sent, expired or taken out
 *
 * `retired` (beside the state): the shard is no longer in the map; its queue is EMPTY, and is freed
 * when no entry is in flight. */
#ifndef KIN_PRODUCER_SHARD_QUEUE_H
#define KIN_PRODUCER_SHARD_QUEUE_H

#include "base/timers.h"
#include "producer/limiter.h"
#include "producer/metrics.h"

typedef struct kin_shard_queue kin_shard_queue;
struct kin_shard_queue {
  kin_hash first, last;       /* the shard's range of hash keys */
  kin_shard_metrics *metrics; /* with the shard's id; in the producer's metrics, which own it */
  kin_record_list waiting;
  enum { KIN_SHARD_QUEUE_EMPTY, KIN_SHARD_QUEUE_OPEN, KIN_SHARD_QUEUE_BLOCKED } state;
  bool due;     /* its oldest record has lingered long enough */
  bool limited; /* BLOCKED, by the limiter */
  bool retired;
  bool disputed;      /* another listed shard may have a part of its records: they are sent alone */
  bool reused;        /* while the map is replaced: the new map has this queue, too */
  unsigned in_flight; /* entries */
  unsigned failures;  /* consecutive */
  kin_time backoff_until;
  kin_limiter limiter;
  kin_timer timer;
  kin_shard_queue *next, *before; /* in the list of open ones; next also among the retired ones */
};

/* NULL when memory is out. */
kin_shard_queue *kin_shard_queue_create(kin_metrics *metrics, kin_slice shard_id);

/* Removes the shard from `metrics`, too; NULL: its counts are kept there. */
void kin_shard_queue_free(kin_shard_queue *shard, kin_metrics *metrics);

typedef struct kin_shard_queues {
  kin_time linger, ttl;  /* ttl: KIN_NEVER when records live for ever */
  bool ordered;          /* one entry in flight per shard */
  size_t full_bytes;     /* bytes that fill an entry; 0: each record is an entry */
  uint64_t flush_serial; /* records up to this serial do not linger */

  kin_shard_queue *first_open, *last_open;
  size_t open_count;
  unsigned limited;              /* shard queues that are blocked by their limiters */
  size_t records, bytes;         /* that wait in the open ones */
  size_t full, full_bytes_total; /* open ones that fill an entry, and the bytes in them */
  bool due;                      /* at least one of the open ones is due */
  kin_timers timers;             /* reserved for every shard queue */
} kin_shard_queues;

void kin_shard_queues_free(kin_shard_queues *shards);

/* Moves `records`, ordered by serial, to the shard queue. */
void kin_shard_queues_add(kin_shard_queues *shards, kin_shard_queue *shard,
                          kin_record_list *records, kin_time now);

/* Removes the first open shard queue from the list; NULL: there is none. The caller may take its
 * waiting records and puts it back with kin_shard_queues_return. */
kin_shard_queue *kin_shard_queues_next(kin_shard_queues *shards);
void kin_shard_queues_return(kin_shard_queues *shards, kin_shard_queue *shard, kin_time now);

/* Whether its records may be sent in a batch that is due because of another shard. */
bool kin_shard_queues_ready(const kin_shard_queues *shards, const kin_shard_queue *shard,
                            kin_time now);

/* An entry of the shard is no longer in flight, or its back-off was changed. */
void kin_shard_queues_update(kin_shard_queues *shards, kin_shard_queue *shard, kin_time now);

/* Removes the shard queue from the list and the timers, and appends its records to `records`. */
void kin_shard_queues_take_out(kin_shard_queues *shards, kin_shard_queue *shard,
                               kin_record_list *records);

/* Handles the next timer that is due: a shard queue is open again, or due, or its expired records
 * are appended to `expired`; `limited`: its limiter kept them waiting. NULL: no timer is due. */
kin_shard_queue *kin_shard_queues_wake(kin_shard_queues *shards, kin_time now,
                                       kin_record_list *expired, bool *limited);

/* Records up to `serial` do not linger. */
void kin_shard_queues_flush(kin_shard_queues *shards, uint64_t serial);

#endif
