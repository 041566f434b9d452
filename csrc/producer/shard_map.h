/* shardmap: which shard a hash key belongs to. Asked of the service when the producer begins, and
 * again when a record is found in another shard than it was thought to go to. Where it cannot be
 * known, or the service itself picks the shard, there is one shard for everything. Engine thread.
 */
#ifndef KIN_PRODUCER_SHARD_MAP_H
#define KIN_PRODUCER_SHARD_MAP_H

#include "engine/engine.h"
#include "producer/shard_queue.h"
#include "wire/list_shards.h"

typedef struct kin_shard_map_options {
  const char *stream;
  const kin_target *target; /* of operations that are no data; NULL: the engine's */
  double rate_limit;        /* the share of the shards' limits that is ours */
} kin_shard_map_options;

typedef struct kin_shard_map {
  kin_shard_map_options options;
  kin_queue *queue;
  kin_shard_queue **shards; /* by their ranges; one without an id when nothing is predicted */
  size_t count;
  bool ready;     /* there are shards */
  bool predicts;  /* the shards are the stream's shards */
  bool described; /* the summary is the service's */
  double limits;  /* of so many shards, which the one shard stands for that has no id */
  kin_stream_summary summary;
  kin_shard_queue *retired; /* old ones that have something under way */

  /* while it is asked for */
  unsigned asking; /* calls under way */
  bool stale;      /* it is to be asked for again */
  bool refused;    /* the service will not tell */
  unsigned failures;
  kin_error trouble; /* the last one; of class KIN_OK when the map is as it should be */
  kin_time rest_until;
  kin_shard_queue **fresh;
  size_t fresh_count, fresh_room;
} kin_shard_map;

void kin_shard_map_init(kin_shard_map *map, kin_queue *queue, const kin_shard_map_options *options);
void kin_shard_map_free(kin_shard_map *map);

/* Sends what is to be asked, on behalf of the machine. Returns when to come again. */
kin_time kin_shard_map_step(kin_shard_map *map, kin_machine *machine, kin_time now);

/* Whether the call is one of the map's. */
bool kin_shard_map_owns(const kin_shard_map *map, const kin_call *call);

/* One of its calls is over; the caller frees it. True: the map is a new one. The records that
 * waited in shards which are gone are appended to `records`. */
bool kin_shard_map_receive(kin_shard_map *map, kin_machine *machine, kin_call *call,
                           kin_shard_queues *shards, kin_record_list *records, kin_time now);

/* It does not hold any more. */
void kin_shard_map_doubt(kin_shard_map *map);

kin_shard_queue *kin_shard_map_find(const kin_shard_map *map, kin_hash hash);
kin_shard_queue *kin_shard_map_named(const kin_shard_map *map, kin_slice shard_id); /* or NULL */

/* A shard that is gone has nothing under way any more. */
void kin_shard_map_drop(kin_shard_map *map, kin_shard_queue *shard);

#endif
