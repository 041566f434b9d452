/* producer: a machine of the engine that takes records from its queue, predicts their shards, packs
 * them into PutRecords, and tries again until each has found its outcome. */
#ifndef KIN_PRODUCER_PRODUCER_H
#define KIN_PRODUCER_PRODUCER_H

#include "producer/queue.h"

typedef enum {
  KIN_AGGREGATE_SAFE, /* unless the service may pick the shards itself */
  KIN_AGGREGATE_OFF,
  KIN_AGGREGATE_FORCED, /* also when the service will not say whether it does */
} kin_aggregate_mode;

typedef struct kin_producer_options {
  kin_slice stream;
  const kin_target *data_target, *control_target; /* NULL: the engine's */
  kin_time linger;
  kin_time ttl; /* KIN_NEVER: for ever */
  size_t batch_records, batch_bytes;
  kin_aggregate_mode aggregate;
  size_t aggregate_bytes, aggregate_records;
  unsigned parallel;
  double rate_limit;
  bool ordered;          /* within a shard */
  bool rerandomize_keys; /* random keys, when their shard is throttled */
} kin_producer_options;

/* Hands a machine to the engine that works behind this queue, and holds it. False: memory is out,
 * or the engine is stopped. Lua thread. It ends by KIN_MESSAGE_REMOVE; then what is not stored
 * comes back through the queue. */
bool kin_producer_start(kin_engine *engine, uint64_t id, kin_queue *queue,
                        const kin_producer_options *options);

#endif
