/* metrics: the counters of a producer and of its shards. The engine thread writes them; any thread
 * reads them: they are atomic. The list of shards is under a lock of its own. */
#ifndef KIN_PRODUCER_METRICS_H
#define KIN_PRODUCER_METRICS_H

#include <pthread.h>

#include "engine/trace.h"
#include "producer/record.h"

enum { KIN_LATENCIES = 24 };

/* "Entries" are records as the service counts them (PutRecordsRequestEntry): a user record, or an
 * aggregate of several. */
typedef struct kin_shard_metrics {
  struct kin_shard_metrics *next; /* under the lock of the metrics */
  char shard_id[KIN_SHARD_ID_SIZE];
  atomic_uint_fast64_t stored, throttled; /* entries */
  atomic_uint_fast64_t stored_bytes;
  atomic_uint_fast64_t records_rate, bytes_rate; /* per second, over the last full second */
  atomic_uint_fast64_t share; /* of the shard's limits that the limiter allows, in thousandths */
} kin_shard_metrics;

/* Whether records are aggregated; and if not, why. */
typedef enum {
  KIN_AGGREGATION_ON,
  KIN_AGGREGATION_NOT_WANTED,
  KIN_AGGREGATION_SERVICE_MANAGED, /* the service selects the shards */
  KIN_AGGREGATION_UNKNOWN,         /* the service does not tell its shards, or whether it does */
  KIN_AGGREGATION_MISPLACED,       /* aggregates land in other shards than ListShards says */
} kin_aggregation;

typedef struct kin_metrics {
  _Atomic(kin_aggregation) aggregation;
  atomic_uint_fast64_t stored, stored_bytes, failed, expired, returned;
  atomic_uint_fast64_t retried;             /* attempts at records after their first */
  atomic_uint_fast64_t throttled;           /* entries */
  atomic_uint_fast64_t possible_duplicates; /* retries of records that may be stored already */
  atomic_uint_fast64_t misplaced_records;   /* stored in a wrong shard, in aggregates; retries */
  atomic_uint_fast64_t requests;
  atomic_uint_fast64_t entries, stored_entries;
  atomic_uint_fast64_t full_batches, due_batches, flushed_batches; /* by the reason for sending */
  atomic_uint_fast64_t in_flight;                /* records in requests in flight */
  atomic_uint_fast64_t latencies[KIN_LATENCIES]; /* stored within 2^i ms of their acceptance */
  atomic_uint_fast64_t latency_sum;              /* microseconds */
  atomic_uint_fast64_t map_refreshes;
  atomic_uint rate_limited; /* shards to which our own limit lets no more be sent now */

  pthread_mutex_t lock; /* of the list of shards */
  kin_shard_metrics *shards;
} kin_metrics;

/* Of zeroed memory. */
void kin_metrics_init(kin_metrics *metrics);
void kin_metrics_destroy(kin_metrics *metrics);

/* Engine thread: adds a shard, or removes one and frees it. NULL when memory is out. */
kin_shard_metrics *kin_metrics_add_shard(kin_metrics *metrics, kin_slice shard_id);
void kin_metrics_remove_shard(kin_metrics *metrics, kin_shard_metrics *shard);

/* The list of shards, locked until kin_metrics_unlock_shards; nothing in between may raise a Lua
 * error. */
kin_shard_metrics *kin_metrics_lock_shards(kin_metrics *metrics);
void kin_metrics_unlock_shards(kin_metrics *metrics);

/* Counts of several records, added to the metrics at once: an atomic for each record is expensive.
 */
typedef struct kin_outcome_counts {
  uint64_t counts[KIN_RECORD_CLOSED + 1];
  uint64_t stored_bytes, latency_sum, latencies[KIN_LATENCIES];
} kin_outcome_counts;

void kin_outcome_counts_note(kin_outcome_counts *outcomes, const kin_user_record *record,
                             kin_time now);
void kin_metrics_add(kin_metrics *metrics, const kin_outcome_counts *outcomes);

#endif
