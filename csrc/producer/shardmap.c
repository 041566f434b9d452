#include "producer/shardmap.h"

#include <stdlib.h>

#include "engine/retry.h"

static const kin_time least_rest = KIN_SECOND, most_rest = 30 * KIN_SECOND;

void kin_shardmap_init(kin_shardmap *map, kin_door *door, const kin_shardmap_options *options) {
  *map = (kin_shardmap){.options = *options, .door = door, .stale = true};
  map->summary.max_record_size = KIN_STREAM_RECORD_MAX;
}

static void free_fresh(kin_shardmap *map) {
  for (size_t i = 0; i < map->fresh_count; i++) {
    kin_lane *lane = map->fresh[i];
    if (lane->kept)
      lane->kept = false; /* it is the map's, as before */
    else
      kin_lane_free(lane, map->door);
  }
  free(map->fresh);
  map->fresh = NULL;
  map->fresh_count = map->fresh_room = 0;
}

void kin_shardmap_free(kin_shardmap *map) {
  free_fresh(map);
  for (size_t i = 0; i < map->count; i++)
    kin_lane_free(map->lanes[i], NULL); /* what its counts came to is asked for afterwards */
  free(map->lanes);
  while (map->gone)
    kin_shardmap_drop(map, map->gone);
}

void kin_shardmap_drop(kin_shardmap *map, kin_lane *lane) {
  kin_lane **link = &map->gone;
  while (*link != lane)
    link = &(*link)->next;
  *link = lane->next;
  kin_lane_free(lane, map->door);
}

/* ---- looking up ---- */

kin_lane *kin_shardmap_find(const kin_shardmap *map, kin_hash hash) {
  size_t low = 0, high = map->count - 1;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (kin_hash_compare(map->lanes[middle]->last, hash) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return map->lanes[low];
}

kin_lane *kin_shardmap_named(const kin_shardmap *map, kin_slice shard_id) {
  for (size_t i = 0; i < map->count; i++)
    if (kin_slice_is(shard_id, map->lanes[i]->metrics->shard_id))
      return map->lanes[i];
  return NULL;
}

/* ---- asking ---- */

static bool ask(kin_shardmap *map, kin_machine *machine, const char *operation, kin_slice token) {
  kin_call *call = kin_call_create(operation, 1);
  if (!call)
    return false;
  kin_slice stream = kin_slice_of(map->options.stream);
  call->machine = machine->id;
  call->target = map->options.target;
  call->context = map;
  if (strcmp(operation, "ListShards") == 0)
    kin_list_shards_build(&call->body, stream, token);
  else
    kin_stream_summary_build(&call->body, stream);
  if (call->body.failed) {
    kin_message_free(&call->message);
    return false;
  }
  map->asking++;
  kin_engine_send(machine->engine, call);
  return true;
}

void kin_shardmap_doubt(kin_shardmap *map) {
  map->stale = map->stale || map->asking == 0;
}

static void rest(kin_shardmap *map, kin_time now) {
  kin_time most = least_rest << (map->failures < 5 ? map->failures : 5);
  map->failures++;
  map->rest_until = now + (most < most_rest ? most : most_rest);
}

kin_time kin_shardmap_step(kin_shardmap *map, kin_machine *machine, kin_time now) {
  if (!map->stale || map->asking > 0)
    return KIN_NEVER;
  if (now < map->rest_until)
    return map->rest_until;
  map->stale = map->refused = false;
  if (!ask(map, machine, "ListShards", (kin_slice){0}) ||
      !ask(map, machine, "DescribeStreamSummary", (kin_slice){0})) {
    map->stale = true;
    rest(map, now);
    return map->rest_until;
  }
  return KIN_NEVER;
}

bool kin_shardmap_owns(const kin_shardmap *map, const kin_call *call) {
  return call->context == map;
}

/* ---- a new map ---- */

static bool note_lane(kin_shardmap *map, kin_lane *lane) {
  if (map->fresh_count == map->fresh_room) {
    size_t room = map->fresh_room ? 2 * map->fresh_room : 16;
    kin_lane **fresh = realloc(map->fresh, room * sizeof *fresh);
    if (!fresh)
      return false;
    map->fresh = fresh;
    map->fresh_room = room;
  }
  map->fresh[map->fresh_count++] = lane;
  return true;
}

/* The same shard's lane in the map as it is, with what its limiter has learnt. */
static kin_lane *known_lane(const kin_shardmap *map, const kin_shard_range *shard) {
  if (!map->predicts)
    return NULL;
  kin_lane *lane = kin_shardmap_find(map, shard->first);
  return kin_slice_is(shard->id, lane->metrics->shard_id) ? lane : NULL;
}

static bool note_shard(void *context, const kin_shard_range *shard) {
  kin_shardmap *map = context;
  kin_lane *lane = known_lane(map, shard);
  if (lane && !lane->kept) {
    lane->kept = note_lane(map, lane);
    return lane->kept;
  }
  lane = kin_lane_create(map->door, shard->id);
  if (!lane)
    return false;
  lane->first = shard->first;
  lane->last = shard->last;
  if (note_lane(map, lane))
    return true;
  kin_lane_free(lane, map->door);
  return false;
}

static int by_range(const void *one, const void *other) {
  return kin_hash_compare((*(kin_lane *const *)one)->first, (*(kin_lane *const *)other)->first);
}

/* Nothing can be predicted: one lane, for as many shards as are known. It stays when nothing could
 * be before; its limiter, too, unless it is for others. */
static bool note_anywhere(kin_shardmap *map, double shards, kin_time now) {
  free_fresh(map);
  bool kept = map->ready && !map->predicts;
  kin_lane *lane = kept ? map->lanes[0] : kin_lane_create(map->door, (kin_slice){0});
  if (!lane)
    return false;
  if (!note_lane(map, lane)) {
    if (!kept)
      kin_lane_free(lane, map->door);
    return false;
  }
  lane->kept = kept;
  lane->last = (kin_hash){UINT64_MAX, UINT64_MAX};
  if (!kept || map->limits != shards)
    kin_limiter_init(&lane->limiter, shards * map->options.rate_limit, now);
  map->limits = shards;
  return true;
}

/* Old lanes go, those that have nothing under way at once. */
static void let_go(kin_shardmap *map, kin_lanes *lanes, kin_record_list *records) {
  for (size_t i = 0; i < map->count; i++) {
    kin_lane *lane = map->lanes[i];
    if (lane->kept)
      continue;
    kin_record_list waited = {0};
    kin_lanes_take_out(lanes, lane, &waited);
    kin_record_list_merge(records, &waited);
    lane->gone = true;
    lane->next = map->gone;
    map->gone = lane;
    if (lane->flying == 0)
      kin_shardmap_drop(map, lane);
  }
}

static bool install(kin_shardmap *map, kin_lanes *lanes, kin_record_list *records, kin_time now) {
  size_t shards = map->fresh_count;
  bool predicts = shards > 0 && !map->refused && !map->summary.service_managed;
  if (!predicts && !note_anywhere(map, (double)(map->refused ? 0 : shards), now))
    return false;
  size_t gone = 0;
  for (kin_lane *lane = map->gone; lane; lane = lane->next)
    gone++;
  if (!kin_timers_reserve(&lanes->timers, map->count + map->fresh_count + gone))
    return false;
  let_go(map, lanes, records);
  for (size_t i = 0; i < map->fresh_count; i++) {
    kin_lane *lane = map->fresh[i];
    if (!lane->kept && predicts)
      kin_limiter_init(&lane->limiter, map->options.rate_limit, now);
    lane->kept = false;
  }
  free(map->lanes);
  map->lanes = map->fresh;
  map->count = map->fresh_count;
  map->fresh = NULL;
  map->fresh_count = map->fresh_room = 0;
  qsort(map->lanes, map->count, sizeof *map->lanes, by_range);
  map->predicts = predicts;
  map->ready = true;
  return true;
}

/* ---- answers ---- */

static void note_trouble(kin_shardmap *map, const kin_call *call) {
  map->trouble = call->error;
  if (map->trouble.class == KIN_OK)
    kin_error_set(&map->trouble, KIN_TRANSIENT, "BadAnswer", "what came is no answer of %s",
                  call->operation);
  map->stale = true;
}

/* The service will not tell. What is the fault of keys, of memory (then it was not asked) or of a
 * token that has grown old says nothing of the stream; but while there is no map, records that
 * cannot leave without keys are not to wait for it. */
static bool is_refusal(const kin_shardmap *map, const kin_error *error) {
  static const char *const keys[] = {"ExpiredTokenException", "ExpiredToken",
                                     "UnrecognizedClientException"};
  if (error->class != KIN_FATAL || strcmp(error->code, "ExpiredNextTokenException") == 0)
    return false;
  for (size_t i = 0; map->ready && i < sizeof keys / sizeof *keys; i++)
    if (strcmp(error->code, keys[i]) == 0)
      return false;
  return !map->ready || error->status != 0;
}

static void take_summary(kin_shardmap *map, kin_call *call) {
  kin_buf *answer = &call->exchange.answer;
  kin_stream_summary summary;
  if (call->error.class == KIN_OK && kin_stream_summary_read(answer->at, answer->len, &summary)) {
    map->summary = summary;
    map->described = true;
    kin_door_set_max_record(map->door, summary.max_record_size);
  } else if (is_refusal(map, &call->error)) {
    map->described = false;
  } else {
    note_trouble(map, call);
  }
}

static void take_shards(kin_shardmap *map, kin_machine *machine, kin_call *call) {
  kin_buf *answer = &call->exchange.answer;
  kin_slice token = {0};
  if (is_refusal(map, &call->error))
    map->refused = true;
  else if (call->error.class != KIN_OK ||
           !kin_list_shards_read(answer->at, answer->len, note_shard, map, &token) ||
           (token.len > 0 && !ask(map, machine, "ListShards", token)))
    note_trouble(map, call);
}

bool kin_shardmap_receive(kin_shardmap *map, kin_machine *machine, kin_call *call, kin_lanes *lanes,
                          kin_record_list *records, kin_time now) {
  map->asking--;
  if (strcmp(call->operation, "ListShards") == 0)
    take_shards(map, machine, call);
  else
    take_summary(map, call);
  if (map->asking > 0)
    return false;
  if (map->stale || !install(map, lanes, records, now)) {
    free_fresh(map);
    map->stale = true;
    rest(map, now);
    if (map->trouble.class != KIN_OK)
      kin_door_note_failure(map->door, &map->trouble, 1, map->failures >= KIN_TOLD_AFTER);
    return false;
  }
  /* doubts that come back at once are not followed at once */
  map->rest_until = now + (map->refused ? most_rest : least_rest);
  map->failures = 0;
  kin_error_clear(&map->trouble);
  kin_count(&kin_door_metrics(map->door)->map_refreshes, 1);
  return true;
}
