/* inside: the producer's own state, for the rooms that are the producer: `producer` (its life, when
 * it does what), `batcher` (what goes into a request), `landing` (what became of it) and `accounts`
 * (what is settled). Nobody else includes this. Engine thread. */
#ifndef KIN_PRODUCER_INTERNAL_H
#define KIN_PRODUCER_INTERNAL_H

#include "producer/producer.h"
#include "producer/shard_map.h"
#include "wire/aggregate.h"

/* One record as the service counts them: a user record, or an aggregate of several. */
typedef struct kin_batch_entry {
  kin_shard_queue *shard;
  kin_record_list records;
  bool receipts; /* somebody waits for one of them */
} kin_batch_entry;

/* One PutRecords: the context of its call. */
typedef struct kin_batch {
  struct kin_batch *next; /* among the spare ones, or those under way */
  kin_call *call;         /* while it is made; then the engine's */
  size_t count;           /* of entries */
  size_t records, bytes;
  size_t last_outcome_unknown; /* records whose last attempt may have stored them */
  unsigned max_batch;          /* the least of its records' */
  kin_time newest;             /* of its records: when it was accepted */
  kin_batch_entry entries[KIN_PUT_RECORDS_MAX];
  kin_put_result results[KIN_PUT_RECORDS_MAX]; /* slices into the answer */
} kin_batch;

/* An aggregate that was stored in a shard which the map does not know yet: whether all of its
 * records belong there is seen when it does, if that is soon enough. */
typedef struct kin_misplaced {
  struct kin_misplaced *next;
  kin_time until; /* so long it is held */
  kin_record_list records;
  kin_stored stored;
} kin_misplaced;

/* How long nothing is tried when memory is out. */
#define KIN_OUT_OF_MEMORY_REST (100 * KIN_MILLISECOND)

/* Flushes that are asked for and not done, each with its own end; beyond, they share the last. */
enum { KIN_FLUSHES = 8 };

typedef struct kin_flush {
  uint64_t serial; /* of the last record it covers */
  size_t left;
  unsigned count; /* how many flushes it stands for */
} kin_flush;

typedef struct kin_producer {
  kin_machine machine; /* first */
  kin_queue *queue;
  kin_metrics *metrics;
  kin_producer_options options;
  char *stream;
  kin_md5 *md5; /* NULL: there is none, and nothing is predicted */
  kin_shard_map map;
  kin_shard_queues shards;
  kin_record_list unrouted;                  /* there is no map yet, or it is being replaced */
  kin_record_list settled;                   /* on their way out */
  kin_misplaced *misplaced, *last_misplaced; /* in the order in which they are given up */
  kin_aggregate aggregate;                   /* scratch */
  kin_buf packed;                            /* scratch: the finished aggregate */

  kin_batch *spare, *under_way;
  unsigned in_flight;
  unsigned failures;  /* requests that failed as a whole, in a row: then one at a time is sent */
  kin_time failed_at; /* when the last of them was counted */
  kin_time rest_until;
  bool barrier; /* ordered, and the map was replaced: all that is under way must land first */

  size_t open;    /* taken from the queue and not settled */
  size_t expired; /* among those on their way out */
  uint64_t last_serial;
  kin_flush flushes[KIN_FLUSHES];
  size_t flush_count;
} kin_producer;

/* ---- batcher ---- */

/* Whether several records may share a entry, as things are. */
bool kin_batcher_aggregates(const kin_producer *self);

/* The next batch, and its request, when there is reason enough to send one and something may be
 * sent; else NULL. Without a request, when there was no memory for it. */
kin_batch *kin_batcher_next(kin_producer *self, kin_time now);

/* Whether there is more in the shards than the next requests can hold. */
bool kin_batcher_has_plenty(const kin_producer *self);

/* All of its records, in order; the batch is spare again. */
void kin_batcher_unpack(kin_producer *self, kin_batch *batch, kin_record_list *records);

/* ---- landing ---- */

/* A batch has been answered, or failed. Records that are to be sent again are put into `again`. */
void kin_completion_take(kin_producer *self, kin_call *call, kin_record_list *again, kin_time now);

/* Strays that the new map knows the shards of. */
void kin_misplaced_resolve(kin_producer *self, kin_record_list *again, kin_time now);

/* These never left, because of that; a failure of class KIN_OK tells nothing. */
void kin_completion_note_cause(kin_producer *self, kin_record_list *records,
                               const kin_error *error);

/* Strays that were held long enough: what has outlived its time is stored, as the service has said;
 * the others are put into `again`. */
void kin_misplaced_give_up(kin_producer *self, kin_record_list *again, kin_time now);

/* The end of all misplaced, whose records may be stored. */
void kin_misplaced_free(kin_producer *self, kin_record_list *records);

/* One that failed for a reason of ours, without having been sent. */
void kin_completion_reject(kin_producer *self, kin_user_record *record, const char *code,
                           const char *format, ...) __attribute__((format(printf, 4, 5)));

/* ---- accounts ---- */

/* The record has found its outcome. */
void kin_flush_complete(kin_producer *self, kin_user_record *record, kin_record_outcome outcome);

/* All of them are stored. */
void kin_flush_complete_stored(kin_producer *self, kin_record_list *records);

/* Out of the queue with those that are settled; then flushes are told, in their order. */
void kin_flush_hand_out(kin_producer *self, kin_time now);

/* Everything that was taken is to leave now; so many flushes are told when it is settled. */
void kin_flush_begin(kin_producer *self, unsigned count);

#endif
