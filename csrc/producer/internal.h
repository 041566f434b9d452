/* internal: the state of a producer, for the modules that make up its machine: `producer` (the
 * machine: what it does when), `routing` (which shard a record goes to), `batcher` (what goes into
 * a request), `completion` (what became of a request and its records) and `misplaced`. No other
 * module includes this. Engine thread. */
#ifndef KIN_PRODUCER_INTERNAL_H
#define KIN_PRODUCER_INTERNAL_H

#include "producer/attempt.h"
#include "producer/flush.h"
#include "producer/producer.h"
#include "producer/shard_map.h"
#include "wire/aggregate.h"

/* Where an entry was stored, by the current map. */
typedef enum {
  KIN_PLACEMENT_PREDICTED, /* in the shard that was predicted, or nothing was */
  KIN_PLACEMENT_RIGHT,     /* in another one, in which all its records belong */
  KIN_PLACEMENT_UNKNOWN,   /* in one that the map does not have */
  KIN_PLACEMENT_FORMER,    /* the same, but it was sent by a former map, and this one explains it:
                            its shard was split since */
  KIN_PLACEMENT_WRONG,     /* in one in which not all its records belong */
} kin_placement;

/* A PutRecordsRequestEntry: a user record, or an aggregate of several. */
typedef struct kin_batch_entry {
  kin_shard_queue *shard;
  kin_record_list records;
  bool receipts; /* at least one of the records has a receipt */
  kin_placement placement;
} kin_batch_entry;

/* One PutRecords request; the context of its call. */
typedef struct kin_batch {
  struct kin_batch *next; /* in free_batches or sent_batches */
  kin_call *call;         /* owned until it is sent, then the engine's until it is answered */
  size_t count;           /* of entries */
  size_t records, bytes;
  size_t last_outcome_unknown; /* number of records whose last attempt may have stored them */
  unsigned max_batch;          /* the least of its records; 0: no limit */
  kin_time newest;             /* when its newest record was accepted */
  kin_batch_entry entries[KIN_PUT_RECORDS_MAX];
  kin_put_result results[KIN_PUT_RECORDS_MAX]; /* slices into the answer */
} kin_batch;

typedef struct kin_misplaced kin_misplaced;

/* How long nothing is sent after memory was out. */
#define KIN_OUT_OF_MEMORY_BACKOFF (100 * KIN_MILLISECOND)

typedef struct kin_producer {
  kin_machine machine; /* first */

  /* shared with the Lua thread; each has locks of its own */
  kin_queue *queue; /* counted */
  kin_metrics *metrics;

  /* everything below: engine thread only */
  kin_producer_options options;
  char *stream;
  kin_md5 *md5;
  kin_shard_map map;
  kin_shard_queues shards;
  kin_record_list unrouted;  /* the shard map is not known yet, or is being replaced */
  kin_record_list retries;   /* to be routed again at the end of the current message or step */
  kin_record_list completed; /* have their outcome; handed to the queue at the end of the step */
  kin_misplaced *misplaced, *last_misplaced; /* by their deadlines */
  struct {
    kin_aggregate aggregate;
    kin_buf packed; /* the aggregate, serialised */
  } scratch;

  kin_batch *free_batches, *sent_batches;
  unsigned in_flight; /* sent batches */
  unsigned failures;  /* consecutive failed requests; if any, one request is sent at a time */
  kin_time failed_at; /* when the last of them was counted */
  kin_time backoff_until;
  bool unreported; /* it was not reported that the map waits for credentials */
  bool barrier; /* ordered, and the map was replaced: all requests in flight must complete first */

  size_t open;        /* records taken from the queue that have no outcome yet */
  size_t open_failed; /* those of them of which an attempt has failed */
  size_t expired;     /* number of expired records in `completed` */
  uint64_t last_serial;
  kin_flushes flushes;
} kin_producer;

/* ---- routing ----
 *
 * Predicts the shard of each record, by its hash key and the shard map, and adds the record to the
 * queue of that shard. Records wait in `unrouted` while there is no map. */

/* Takes all records from the queue between the threads. */
void kin_routing_take_all(kin_producer *self, kin_time now);

/* Takes records from that queue if they are due; returns when to do so again. */
kin_time kin_routing_take_due(kin_producer *self, kin_time now);

/* Routes `unrouted` and `retries` again, in the order in which they were accepted. */
void kin_routing_retry(kin_producer *self, kin_time now);

/* Whether the record's time to live is over. */
bool kin_routing_is_expired(const kin_producer *self, const kin_user_record *record, kin_time now);

/* ---- batcher ---- */

/* Whether several records may share an entry now. */
bool kin_batcher_aggregates(const kin_producer *self);

/* The map was replaced, or is distrusted: publishes why nothing is aggregated, if so. */
void kin_batcher_publish(kin_producer *self);

/* The next batch with its call; NULL when nothing is due or may be sent. The batch has no call when
 * memory was out for it. */
kin_batch *kin_batcher_next(kin_producer *self, kin_time now);

/* Whether the shard queues hold more than the next two requests can take. */
bool kin_batcher_has_plenty(const kin_producer *self);

/* Frees the batch for reuse. */
void kin_batcher_free(kin_producer *self, kin_batch *batch);

/* Moves all records of the batch to `records`, in order, and frees the batch. */
void kin_batcher_unpack(kin_producer *self, kin_batch *batch, kin_record_list *records);

/* ---- completion ---- */

/* A request has been answered, or failed: each of its records has an outcome, is in `retries`, or
 * is misplaced. */
void kin_completion_take(kin_producer *self, kin_call *call, kin_time now);

/* The record has its outcome. */
void kin_completion_set(kin_producer *self, kin_user_record *record, kin_record_outcome outcome);
void kin_completion_set_all(kin_producer *self, kin_record_list *records,
                            kin_record_outcome outcome);

/* The records are stored; `where` is copied to those with a receipt, NULL: there are none. */
void kin_completion_store(kin_producer *self, kin_record_list *records, const kin_stored *where);

/* The records are sent again, as those of a throttled entry: they are routed anew, in the order
 * in which they were accepted. `maybe_stored`: the last attempt may have stored them. */
void kin_completion_retry(kin_producer *self, kin_record_list *records, bool maybe_stored);

/* The record fails without having been sent. */
void kin_completion_reject(kin_producer *self, kin_user_record *record, const char *code,
                           const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Notes why those of the records that were never sent were not; an error of class KIN_OK is
 * ignored. */
void kin_completion_note_cause(kin_producer *self, kin_record_list *records,
                               const kin_error *error);

/* A request that was never sent is not an attempt. */
void kin_completion_uncount_attempt(kin_batch *batch);

/* Notes why the producer sends nothing now, if it knows. */
void kin_completion_note_reason(kin_producer *self, kin_record_list *records);

/* The time to live of the records is over while they wait; those that were never sent, and have no
 * cause yet, get the reason why the producer sends nothing now. */
void kin_completion_expire(kin_producer *self, kin_record_list *records);

/* Hands the completed records to the queue, and then the flushes that are done. */
void kin_completion_hand_out(kin_producer *self, kin_time now);

/* ---- misplaced ----
 *
 * Aggregates that were stored in another shard than predicted. Readers drop an aggregate if one of
 * its records lies outside of the shard it is in; then its records are sent again. The service is
 * asked for the map once for all that were in flight:
 *
 *   kept ──> stored      the new map says that all records belong in that shard
 *   kept ──> sent again  the new map explains where the aggregate went: in aggregates by that map
 *   kept ──> sent alone  it does not: nothing is aggregated any more (map.distrusted); or a record
 *                        is misplaced for the second time
 *
 * Readers take a record that is not in an aggregate wherever it is. So a record has at most two
 * copies too many. */

/* Where the entry was stored. */
kin_placement kin_misplaced_classify(const kin_producer *self, const kin_batch_entry *entry,
                                     kin_slice shard_id);

/* The entry is an aggregate that was stored as `where` says, in a shard that is unknown or wrong,
 * or in the right one by a map that is in doubt. Its records are kept until the map was asked for
 * again; unless the map already explains where it went: then they are sent again. */
void kin_misplaced_take(kin_producer *self, kin_batch_entry *entry, const kin_stored *where,
                        kin_time now);

/* The map was replaced: decides about all misplaced aggregates. */
void kin_misplaced_resolve(kin_producer *self);

/* When kin_misplaced_expire is due; KIN_NEVER: nothing is misplaced. */
kin_time kin_misplaced_next(const kin_producer *self);

/* Decides about aggregates at their deadline, if no map came: records whose time to live is over
 * are stored, as the service has said; the others are sent again, alone. */
void kin_misplaced_expire(kin_producer *self, kin_time now);

/* Frees all; their records, which may be stored, are merged into `records`. */
void kin_misplaced_free(kin_producer *self, kin_record_list *records);

#endif
