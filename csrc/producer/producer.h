/* producer: a machine of the engine that takes records from the queue, predicts their shards, packs
 * them into PutRecords requests, and retries until each record has its outcome. */
#ifndef KIN_PRODUCER_PRODUCER_H
#define KIN_PRODUCER_PRODUCER_H

#include "producer/queue.h"

typedef enum {
  KIN_AGGREGATE_SAFE, /* unless the service may select the shards itself */
  KIN_AGGREGATE_OFF,
  KIN_AGGREGATE_FORCED, /* also when the service does not tell whether it does */
} kin_aggregate_mode;

typedef struct kin_producer_options {
  kin_slice stream;
  const kin_target *data_target, *control_target; /* NULL: the engine's */
  kin_time linger;
  kin_time ttl; /* KIN_NEVER: no limit */
  size_t batch_records, batch_bytes;
  kin_aggregate_mode aggregate;
  size_t aggregate_bytes, aggregate_records;
  unsigned parallel;         /* requests in flight */
  unsigned unknown_attempts; /* a record is sent so often if answers 2xx cannot be read; to 255 */
  double rate_limit;         /* share of the shards' limits that this producer uses */
  bool ordered;              /* records keep their order within a shard */
  bool rerandomize_keys;     /* replace random partition keys when their shard is throttled */
} kin_producer_options;

/* Hands the machine to the engine; it holds the queue. False: memory is out, or the engine is
 * stopped. Lua thread. The machine ends by KIN_MESSAGE_REMOVE; then records that are not stored
 * come back through the queue. */
bool kin_producer_start(kin_engine *engine, uint64_t id, kin_queue *queue,
                        const kin_producer_options *options);

#endif
