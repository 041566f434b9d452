/* metrics: what has become of a producer's records, in numbers. The engine thread counts, any
 * thread reads. */
#ifndef KIN_PRODUCER_METRICS_H
#define KIN_PRODUCER_METRICS_H

#include "engine/trace.h"
#include "producer/record.h"

enum { KIN_LATENCIES = 24 };

typedef struct kin_metrics {
  atomic_uint_fast64_t stored, stored_bytes, failed, expired, returned;
  atomic_uint_fast64_t retried;   /* attempts at records beyond their first */
  atomic_uint_fast64_t throttled; /* records of the service that were refused for their rate */
  atomic_uint_fast64_t possible_duplicates; /* sent again, though they may have been stored */
  atomic_uint_fast64_t misplaced_records;   /* stored where aggregates are lost; sent again */
  atomic_uint_fast64_t requests;
  atomic_uint_fast64_t entries, stored_entries; /* records as the service counts them */
  atomic_uint_fast64_t full_batches, due_batches, flushed_batches; /* why they left */
  atomic_uint_fast64_t in_flight;                /* records in requests that are under way */
  atomic_uint_fast64_t latencies[KIN_LATENCIES]; /* stored within 2^i ms of their acceptance */
  atomic_uint_fast64_t latency_sum;              /* microseconds */
  atomic_uint_fast64_t map_refreshes;
} kin_metrics;

/* Of one shard. */
typedef struct kin_shard_metrics {
  struct kin_shard_metrics *next; /* under the queue's lock */
  char shard_id[KIN_SHARD_ID_MAX + 1];
  atomic_uint_fast64_t stored, stored_bytes, throttled; /* stored: records as the service counts */
  atomic_uint_fast64_t records_rate, bytes_rate;        /* a second, of the last whole one */
  atomic_uint_fast64_t share; /* of the shard's limits that the limiter allows, in thousandths */
} kin_shard_metrics;

/* Of some records, before they are added to a metrics: an atomic is dear when there is one a
 * record.
 */
typedef struct kin_outcome_counts {
  uint64_t counts[KIN_RECORD_CLOSED + 1];
  uint64_t stored_bytes, latency_sum, latencies[KIN_LATENCIES];
} kin_outcome_counts;

void kin_outcome_counts_note(kin_outcome_counts *outcomes, const kin_user_record *record,
                             kin_time now);
void kin_metrics_add(kin_metrics *metrics, const kin_outcome_counts *outcomes);

#endif
