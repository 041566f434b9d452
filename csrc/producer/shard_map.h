/* shard_map: which shard a hash key belongs to. The machine asks the service for it (ListShards and
 * DescribeStreamSummary) when the producer starts, and again when a record is stored in another
 * shard than predicted. While the shards are unknown, or the service selects them itself, one shard
 * queue without an id stands for all of them. Engine thread.
 *
 * While shards are split, the service may list parents and children as open together. Of listed
 * ranges that overlap, the narrow ones are used, and the others are kept as `covered`; such ranges,
 * and those beside a gap, are `disputed`: their records are sent alone, and the service is asked
 * again until the list is whole.
 *
 *   STALE ──> ASKING    calls are in flight; kin_shard_map_step, not before backoff_until
 *   ASKING ──> READY    all answers are read, or the service refuses: the new map is installed
 *   ASKING ──> STALE    a call failed: back off; an older map stays in use
 *   READY ──> STALE     kin_shard_map_invalidate; or the list was not whole, at `recheck_at`
 *
 *   `stale` and `asking` hold that state. `ready`: a map is installed, whatever the state; then it
 *   either predicts shards, or is the one queue for all of them. */
#ifndef KIN_PRODUCER_SHARD_MAP_H
#define KIN_PRODUCER_SHARD_MAP_H

#include "producer/queue.h"
#include "producer/shard_queue.h"
#include "wire/list_shards.h"

typedef struct kin_shard_map_options {
  const char *stream;
  const kin_target *target; /* of control operations; NULL: the engine's */
  double rate_limit;        /* share of the shards' limits that this producer uses */
} kin_shard_map_options;

typedef struct kin_shard_map {
  kin_shard_map_options options;
  kin_queue *queue;         /* borrowed from the producer */
  kin_shard_queue **shards; /* by their ranges; one without an id when nothing is predicted */
  size_t count;
  size_t covered;  /* behind `count`, by their ranges: listed, but narrower ones are listed, too */
  bool ready;      /* a map is installed */
  bool predicts;   /* `shards` are the stream's shards */
  bool changed;    /* it differs from the map before */
  bool distrusted; /* records land where this map does not say, though it was asked again */
  bool described;  /* `summary` is the service's */
  double limit_count; /* how many shards' limits the queue without an id has; 0: unknown */
  kin_stream_summary summary;
  kin_shard_queue *retired; /* of former maps, with entries in flight */

  /* of the next map */
  unsigned asking; /* calls in flight */
  bool stale;      /* the service has to be asked */
  bool refused;    /* the service does not list the shards */
  bool out_of_memory;
  unsigned failures;
  kin_error error; /* the last one; of class KIN_OK when the map is up to date */
  kin_time backoff_until;
  kin_time asked_at;   /* when the map that is installed, or asked for, was asked for */
  kin_time doubted_at; /* when a record last landed in a known shard outside its range; 0: never */
  kin_time recheck_at; /* the list was not whole: when it is asked for again */
  unsigned rechecks;   /* in a row */
  kin_shard_queue **fresh;
  size_t fresh_count, fresh_capacity;
  kin_listed_ids listed;
  kin_list_pages pages;
} kin_shard_map;

void kin_shard_map_init(kin_shard_map *map, kin_queue *queue, const kin_shard_map_options *options);
void kin_shard_map_free(kin_shard_map *map);

/* Sends the calls that are due on behalf of the machine. Returns when to call this again. */
kin_time kin_shard_map_step(kin_shard_map *map, kin_machine *machine, kin_time now);

/* Whether the call is one of the map's. */
bool kin_shard_map_owns(const kin_shard_map *map, const kin_call *call);

/* One of the map's calls has completed; the caller frees it. True: a new map is installed, and the
 * records that waited in retired shard queues are merged into `records`. */
bool kin_shard_map_receive(kin_shard_map *map, kin_machine *machine, kin_call *call,
                           kin_shard_queues *shards, kin_record_list *records, kin_time now);

/* The map is outdated. */
void kin_shard_map_invalidate(kin_shard_map *map);

/* A record landed in a shard of the map, but outside its range: the map is asked for again. */
void kin_shard_map_doubt(kin_shard_map *map, kin_time now);

/* The map was asked for again, and does not say either where records land. */
void kin_shard_map_distrust(kin_shard_map *map);

/* The shard whose range has the hash: the prediction where a record will be stored. */
kin_shard_queue *kin_shard_map_find(const kin_shard_map *map, kin_hash hash);

kin_shard_queue *kin_shard_map_named(const kin_shard_map *map, kin_slice shard_id); /* or NULL */

/* Frees a retired shard queue that has no entry in flight. */
void kin_shard_map_drop(kin_shard_map *map, kin_shard_queue *shard);

#endif
