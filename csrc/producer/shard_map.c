#include "producer/shard_map.h"

#include <stdlib.h>

#include "engine/retry.h"

static const kin_time backoff_min = KIN_SECOND, backoff_max = 30 * KIN_SECOND;

void kin_shard_map_init(kin_shard_map *map, kin_queue *queue,
                        const kin_shard_map_options *options) {
  *map = (kin_shard_map){.options = *options, .queue = queue, .stale = true};
  map->summary.max_record_size = KIN_STREAM_RECORD_MAX;
}

static void free_fresh(kin_shard_map *map) {
  for (size_t i = 0; i < map->fresh_count; i++) {
    kin_shard_queue *shard = map->fresh[i];
    if (shard->reused)
      shard->reused = false; /* it stays in the installed map */
    else
      kin_shard_queue_free(shard, kin_queue_metrics(map->queue));
  }
  free(map->fresh);
  map->fresh = NULL;
  map->fresh_count = map->fresh_capacity = 0;
}

void kin_shard_map_free(kin_shard_map *map) {
  free_fresh(map);
  for (size_t i = 0; i < map->count; i++)
    kin_shard_queue_free(map->shards[i], NULL); /* stats() still shows its counts */
  free(map->shards);
  while (map->retired)
    kin_shard_map_drop(map, map->retired);
}

void kin_shard_map_drop(kin_shard_map *map, kin_shard_queue *shard) {
  kin_shard_queue **link = &map->retired;
  while (*link != shard)
    link = &(*link)->next;
  *link = shard->next;
  kin_shard_queue_free(shard, kin_queue_metrics(map->queue));
}

/* ---- lookup ---- */

kin_shard_queue *kin_shard_map_find(const kin_shard_map *map, kin_hash hash) {
  size_t low = 0, high = map->count - 1;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (kin_hash_compare(map->shards[middle]->last, hash) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return map->shards[low];
}

kin_shard_queue *kin_shard_map_named(const kin_shard_map *map, kin_slice shard_id) {
  for (size_t i = 0; i < map->count; i++)
    if (kin_slice_is(shard_id, map->shards[i]->metrics->shard_id))
      return map->shards[i];
  return NULL;
}

/* ---- requests ---- */

static bool ask(kin_shard_map *map, kin_machine *machine, const char *operation, kin_slice token) {
  kin_call *call = kin_call_create(operation, 1);
  if (!call)
    return false;
  kin_slice stream = kin_slice_of(map->options.stream);
  call->request.machine = machine->id;
  call->target = map->options.target;
  call->request.context = map;
  if (strcmp(operation, "ListShards") == 0)
    kin_list_shards_build(&call->request.body, stream, token);
  else
    kin_stream_summary_build(&call->request.body, stream);
  if (call->request.body.failed) {
    kin_message_free(&call->request.message);
    return false;
  }
  map->asking++;
  kin_engine_send(machine->engine, &call->request);
  return true;
}

void kin_shard_map_invalidate(kin_shard_map *map) {
  map->stale = map->stale || map->asking == 0;
}

static void back_off(kin_shard_map *map, kin_time now) {
  kin_time wait = backoff_min << (map->failures < 5 ? map->failures : 5);
  map->failures++;
  map->backoff_until = now + (wait < backoff_max ? wait : backoff_max);
}

kin_time kin_shard_map_step(kin_shard_map *map, kin_machine *machine, kin_time now) {
  if (!map->stale || map->asking > 0)
    return KIN_NEVER;
  if (now < map->backoff_until)
    return map->backoff_until;
  map->stale = map->refused = false;
  if (!ask(map, machine, "ListShards", (kin_slice){0}) ||
      !ask(map, machine, "DescribeStreamSummary", (kin_slice){0})) {
    map->stale = true;
    back_off(map, now);
    return map->backoff_until;
  }
  return KIN_NEVER;
}

bool kin_shard_map_owns(const kin_shard_map *map, const kin_call *call) {
  return call->request.context == map;
}

/* ---- the next map ---- */

static bool add_fresh(kin_shard_map *map, kin_shard_queue *shard) {
  if (map->fresh_count == map->fresh_capacity) {
    size_t capacity = map->fresh_capacity ? 2 * map->fresh_capacity : 16;
    kin_shard_queue **fresh = realloc(map->fresh, capacity * sizeof *fresh);
    if (!fresh)
      return false;
    map->fresh = fresh;
    map->fresh_capacity = capacity;
  }
  map->fresh[map->fresh_count++] = shard;
  return true;
}

/* The queue of that shard in the installed map: it is reused, with the state of its limiter. */
static kin_shard_queue *find_installed(const kin_shard_map *map, const kin_shard_range *range) {
  if (!map->predicts)
    return NULL;
  kin_shard_queue *shard = kin_shard_map_find(map, range->first);
  return kin_slice_is(range->id, shard->metrics->shard_id) ? shard : NULL;
}

static bool note_listed(void *context, const kin_shard_range *range) {
  kin_shard_map *map = context;
  kin_shard_queue *shard = find_installed(map, range);
  if (shard && !shard->reused) {
    shard->reused = add_fresh(map, shard);
    return shard->reused;
  }
  shard = kin_shard_queue_create(kin_queue_metrics(map->queue), range->id);
  if (!shard)
    return false;
  shard->first = range->first;
  shard->last = range->last;
  if (add_fresh(map, shard))
    return true;
  kin_shard_queue_free(shard, kin_queue_metrics(map->queue));
  return false;
}

static int by_range(const void *one, const void *other) {
  return kin_hash_compare((*(kin_shard_queue *const *)one)->first,
                          (*(kin_shard_queue *const *)other)->first);
}

/* No shard can be predicted: makes one shard queue with the limits of `shard_count` shards; 0: they
 * are unknown. It is reused if the installed map has one; its limiter, too, if the limits are the
 * same. */
static bool make_single(kin_shard_map *map, double shard_count, kin_time now) {
  free_fresh(map);
  bool reused = map->ready && !map->predicts;
  kin_shard_queue *shard =
      reused ? map->shards[0]
             : kin_shard_queue_create(kin_queue_metrics(map->queue), (kin_slice){0});
  if (!shard)
    return false;
  if (!add_fresh(map, shard)) {
    if (!reused)
      kin_shard_queue_free(shard, kin_queue_metrics(map->queue));
    return false;
  }
  shard->reused = reused;
  shard->last = (kin_hash){UINT64_MAX, UINT64_MAX};
  if (!reused || map->limit_count != shard_count)
    kin_limiter_init(&shard->limiter, shard_count * map->options.rate_limit, now);
  map->limit_count = shard_count;
  return true;
}

/* Retires the shard queues that the new map does not reuse. */
static void retire(kin_shard_map *map, kin_shard_queues *shards, kin_record_list *records) {
  for (size_t i = 0; i < map->count; i++) {
    kin_shard_queue *shard = map->shards[i];
    if (shard->reused)
      continue;
    kin_record_list waited = {0};
    kin_shard_queues_take_out(shards, shard, &waited);
    kin_record_list_merge(records, &waited);
    shard->retired = true;
    shard->next = map->retired;
    map->retired = shard;
    if (shard->in_flight == 0)
      kin_shard_map_drop(map, shard);
  }
}

static bool install(kin_shard_map *map, kin_shard_queues *shards, kin_record_list *records,
                    kin_time now) {
  size_t shard_count = map->fresh_count;
  bool predicts = shard_count > 0 && !map->refused && !map->summary.service_managed;
  if (!predicts && !make_single(map, (double)(map->refused ? 0 : shard_count), now))
    return false;
  size_t retired = 0;
  for (kin_shard_queue *shard = map->retired; shard; shard = shard->next)
    retired++;
  if (!kin_timers_reserve(&shards->timers, map->count + map->fresh_count + retired))
    return false;
  retire(map, shards, records);
  for (size_t i = 0; i < map->fresh_count; i++) {
    kin_shard_queue *shard = map->fresh[i];
    if (!shard->reused && predicts)
      kin_limiter_init(&shard->limiter, map->options.rate_limit, now);
    shard->reused = false;
  }
  free(map->shards);
  map->shards = map->fresh;
  map->count = map->fresh_count;
  map->fresh = NULL;
  map->fresh_count = map->fresh_capacity = 0;
  qsort(map->shards, map->count, sizeof *map->shards, by_range);
  map->predicts = predicts;
  map->ready = true;
  return true;
}

/* ---- answers ---- */

static void note_error(kin_shard_map *map, const kin_call *call) {
  map->error = call->request.error;
  if (map->error.class == KIN_OK)
    kin_error_set(&map->error, KIN_TRANSIENT, "BadAnswer", "the answer is not that of %s",
                  call->request.operation);
  map->stale = true;
}

/* The service refuses to tell: the error is about the stream, not about credentials, memory or an
 * expired token. While no map is installed, errors of credentials count, too: records must not wait
 * for the map longer than for credentials. */
static bool is_refusal(const kin_shard_map *map, const kin_error *error) {
  static const char *const credentials[] = {"ExpiredTokenException", "ExpiredToken",
                                            "UnrecognizedClientException"};
  if (error->class != KIN_FATAL || strcmp(error->code, "ExpiredNextTokenException") == 0)
    return false;
  for (size_t i = 0; map->ready && i < sizeof credentials / sizeof *credentials; i++)
    if (strcmp(error->code, credentials[i]) == 0)
      return false;
  return !map->ready || error->status != 0;
}

static void take_summary(kin_shard_map *map, kin_call *call) {
  kin_buf *answer = &call->request.exchange.answer;
  kin_stream_summary summary;
  if (call->request.error.class == KIN_OK &&
      kin_stream_summary_read(answer->at, answer->len, &summary)) {
    map->summary = summary;
    map->described = true;
    kin_queue_set_max_record(map->queue, summary.max_record_size);
  } else if (is_refusal(map, &call->request.error)) {
    map->described = false;
  } else {
    note_error(map, call);
  }
}

static void take_shards(kin_shard_map *map, kin_machine *machine, kin_call *call) {
  kin_buf *answer = &call->request.exchange.answer;
  kin_slice token = {0};
  if (is_refusal(map, &call->request.error))
    map->refused = true;
  else if (call->request.error.class != KIN_OK ||
           !kin_list_shards_read(answer->at, answer->len, note_listed, map, &token) ||
           (token.len > 0 && !ask(map, machine, "ListShards", token)))
    note_error(map, call);
}

bool kin_shard_map_receive(kin_shard_map *map, kin_machine *machine, kin_call *call,
                           kin_shard_queues *shards, kin_record_list *records, kin_time now) {
  map->asking--;
  if (strcmp(call->request.operation, "ListShards") == 0)
    take_shards(map, machine, call);
  else
    take_summary(map, call);
  if (map->asking > 0)
    return false;
  if (map->stale || !install(map, shards, records, now)) {
    free_fresh(map);
    map->stale = true;
    back_off(map, now);
    if (map->error.class != KIN_OK)
      kin_queue_note_failure(map->queue, &map->error, 1, map->failures >= KIN_REPORT_AFTER);
    return false;
  }
  /* limits how often the map is asked for when it is outdated at once */
  map->backoff_until = now + (map->refused ? backoff_max : backoff_min);
  map->failures = 0;
  kin_error_clear(&map->error);
  kin_count(&kin_queue_metrics(map->queue)->map_refreshes, 1);
  return true;
}
