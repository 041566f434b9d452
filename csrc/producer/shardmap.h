/* shardmap: which lane a hash key belongs to. Asked of the service when the producer begins, and
 * again when a record is found in another shard than it was thought to go to. Where it cannot be
 * known, or the service itself picks the shard, there is one lane for everything. Engine thread. */
#ifndef KIN_PRODUCER_SHARDMAP_H
#define KIN_PRODUCER_SHARDMAP_H

#include "engine/engine.h"
#include "producer/lane.h"
#include "wire/list_shards.h"

typedef struct kin_shardmap_options {
  const char *stream;
  const kin_target *target; /* of operations that are no data; NULL: the engine's */
  double rate_limit;        /* the share of the shards' limits that is ours */
} kin_shardmap_options;

typedef struct kin_shardmap {
  kin_shardmap_options options;
  kin_door *door;
  kin_lane **lanes; /* by their ranges; one without an id when nothing is predicted */
  size_t count;
  bool ready;     /* there are lanes */
  bool predicts;  /* the lanes are the stream's shards */
  bool described; /* the summary is the service's */
  double limits;  /* of so many shards, which the one lane stands for that has no id */
  kin_stream_summary summary;
  kin_lane *gone; /* old ones that have something under way */

  /* while it is asked for */
  unsigned asking; /* calls under way */
  bool stale;      /* it is to be asked for again */
  bool refused;    /* the service will not tell */
  unsigned failures;
  kin_error trouble; /* the last one; of class KIN_OK when the map is as it should be */
  kin_time rest_until;
  kin_lane **fresh;
  size_t fresh_count, fresh_room;
} kin_shardmap;

void kin_shardmap_init(kin_shardmap *map, kin_door *door, const kin_shardmap_options *options);
void kin_shardmap_free(kin_shardmap *map);

/* Sends what is to be asked, on behalf of the machine. Returns when to come again. */
kin_time kin_shardmap_step(kin_shardmap *map, kin_machine *machine, kin_time now);

/* Whether the call is one of the map's. */
bool kin_shardmap_owns(const kin_shardmap *map, const kin_call *call);

/* One of its calls is over; the caller frees it. True: the map is a new one. The records that
 * waited in lanes which are gone are appended to `records`. */
bool kin_shardmap_receive(kin_shardmap *map, kin_machine *machine, kin_call *call, kin_lanes *lanes,
                          kin_record_list *records, kin_time now);

/* It does not hold any more. */
void kin_shardmap_doubt(kin_shardmap *map);

kin_lane *kin_shardmap_find(const kin_shardmap *map, kin_hash hash);
kin_lane *kin_shardmap_named(const kin_shardmap *map, kin_slice shard_id); /* or NULL */

/* A lane that is gone has nothing under way any more. */
void kin_shardmap_drop(kin_shardmap *map, kin_lane *lane);

#endif
