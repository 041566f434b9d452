#include "producer/shard_map.h"

#include <stdlib.h>

#include "engine/retry.h"

static const kin_time backoff_min = KIN_SECOND, backoff_max = 30 * KIN_SECOND;

void kin_shard_map_init(kin_shard_map *map, kin_queue *queue,
                        const kin_shard_map_options *options) {
  *map =
      (kin_shard_map){.options = *options, .queue = queue, .stale = true, .recheck_at = KIN_NEVER};
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
  kin_listed_ids_free(&map->listed);
}

void kin_shard_map_free(kin_shard_map *map) {
  free_fresh(map);
  for (size_t i = 0; i < map->count + map->covered; i++)
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

/* The index of the first of `count` shards, ordered by their ranges, that does not end before
 * `hash`; `count`: there is none. */
static size_t lower_bound(kin_shard_queue **shards, size_t count, kin_hash hash) {
  size_t low = 0, high = count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (kin_hash_compare(shards[middle]->last, hash) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

kin_shard_queue *kin_shard_map_find(const kin_shard_map *map, kin_hash hash) {
  return map->shards[lower_bound(map->shards, map->count - 1, hash)];
}

kin_shard_queue *kin_shard_map_named(const kin_shard_map *map, kin_slice shard_id) {
  for (size_t i = 0; i < map->count + map->covered; i++)
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

void kin_shard_map_doubt(kin_shard_map *map, kin_time now) {
  if (map->distrusted)
    return;
  map->doubted_at = now;
  kin_shard_map_invalidate(map);
}

void kin_shard_map_distrust(kin_shard_map *map) {
  map->distrusted = true;
}

static void back_off(kin_shard_map *map, kin_time now) {
  kin_time wait = backoff_min << (map->failures < 5 ? map->failures : 5);
  map->failures++;
  map->backoff_until = now + (wait < backoff_max ? wait : backoff_max);
}

kin_time kin_shard_map_step(kin_shard_map *map, kin_machine *machine, kin_time now) {
  if (map->asking > 0)
    return KIN_NEVER;
  if (!map->stale && now < map->recheck_at)
    return map->recheck_at;
  if (now < map->backoff_until)
    return map->backoff_until;
  map->stale = map->refused = map->out_of_memory = false;
  map->recheck_at = KIN_NEVER;
  map->asked_at = now;
  map->pages = (kin_list_pages){0};
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

/* A shard never changes its range; but a stream that is deleted and made again uses the same ids.
 */
static bool is_same(const kin_shard_queue *shard, const kin_listed_shard *listed) {
  return kin_hash_compare(shard->first, listed->range.first) == 0 &&
         kin_hash_compare(shard->last, listed->range.last) == 0 &&
         kin_slice_is(listed->id, shard->metrics->shard_id);
}

/* The queue of that shard in the installed map: it is reused, with the state of its limiter. */
static kin_shard_queue *find_installed(const kin_shard_map *map, const kin_listed_shard *listed) {
  if (!map->predicts)
    return NULL;
  kin_shard_queue *shard = kin_shard_map_find(map, listed->range.first);
  if (is_same(shard, listed))
    return shard;
  kin_shard_queue **covered = map->shards + map->count;
  for (size_t i = lower_bound(covered, map->covered, listed->range.last); i < map->covered; i++) {
    if (is_same(covered[i], listed))
      return covered[i];
    if (kin_hash_compare(covered[i]->last, listed->range.last) != 0)
      break;
  }
  return NULL;
}

/* Closed shards are none of the map's, but their pages are no barren ones. False: memory is out. */
static bool take_listed(kin_shard_map *map, const kin_listed_shard *listed) {
  bool failed = false;
  if (!kin_listed_ids_add(&map->listed, listed->id, &failed) || listed->closed)
    return !failed;
  kin_shard_queue *shard = find_installed(map, listed);
  if (shard && !shard->reused) {
    shard->reused = add_fresh(map, shard);
    return shard->reused;
  }
  shard = kin_shard_queue_create(kin_queue_metrics(map->queue), listed->id);
  if (!shard)
    return false;
  shard->first = listed->range.first;
  shard->last = listed->range.last;
  if (add_fresh(map, shard))
    return true;
  kin_shard_queue_free(shard, kin_queue_metrics(map->queue));
  return false;
}

static bool note_listed(void *context, const kin_listed_shard *listed) {
  kin_shard_map *map = context;
  map->out_of_memory = !take_listed(map, listed);
  return !map->out_of_memory;
}

/* ---- a list that is not whole ---- */

/* By the end of the range; narrow ones first. */
static int by_range(const void *one, const void *other) {
  const kin_shard_queue *left = *(kin_shard_queue *const *)one;
  const kin_shard_queue *right = *(kin_shard_queue *const *)other;
  int ends = kin_hash_compare(left->last, right->last);
  return ends != 0 ? ends : kin_hash_compare(right->first, left->first);
}

static bool is_behind(kin_hash hash, kin_hash before) {
  return before.low == UINT64_MAX ? hash.high == before.high + 1 && hash.low == 0
                                  : hash.high == before.high && hash.low == before.low + 1;
}

/* Moves shards whose range overlaps that of a narrower one behind the others; both parts stay
 * ordered. Returns how many were moved; `spare` has `count` places. */
static size_t cover(kin_shard_queue **shards, size_t count, kin_shard_queue **spare) {
  size_t kept = 0, covered = 0;
  for (size_t i = 0; i < count; i++) {
    kin_shard_queue *shard = shards[i];
    if (kept > 0 && kin_hash_compare(shard->first, shards[kept - 1]->last) <= 0)
      spare[covered++] = shard;
    else
      shards[kept++] = shard;
  }
  if (covered > 0)
    memcpy(shards + kept, spare, covered * sizeof *spare);
  return covered;
}

/* Marks every shard from which a covered one may have taken a part of its range. `map->covered` is
 * ordered by the ends of the ranges: from the last one on, `first` is the least start of those that
 * do not end before the shard. */
static bool dispute_overlaps(kin_shard_map *map) {
  kin_hash first = {UINT64_MAX, UINT64_MAX};
  size_t left = map->covered;
  for (size_t i = map->count; i-- > 0;) {
    kin_shard_queue *shard = map->shards[i];
    for (; left > 0; left--) {
      kin_shard_queue *covered = map->shards[map->count + left - 1];
      if (kin_hash_compare(covered->last, shard->first) < 0)
        break;
      covered->disputed = true;
      if (kin_hash_compare(covered->first, first) < 0)
        first = covered->first;
    }
    shard->disputed = map->covered > left && kin_hash_compare(first, shard->last) <= 0;
  }
  return map->covered > 0;
}

/* Hash keys in a gap are looked up in the shard behind it, or in the last one. */
static bool dispute_gaps(kin_shard_map *map) {
  static const kin_hash least = {0, 0}, most = {UINT64_MAX, UINT64_MAX};
  bool gaps = false;
  for (size_t i = 0; i < map->count; i++) {
    kin_shard_queue *shard = map->shards[i];
    bool begins = i == 0 ? kin_hash_compare(shard->first, least) == 0
                         : is_behind(shard->first, map->shards[i - 1]->last);
    bool ends = i + 1 < map->count || kin_hash_compare(shard->last, most) == 0;
    shard->disputed = shard->disputed || !begins || !ends;
    gaps = gaps || !begins || !ends;
  }
  return gaps;
}

/* ---- installing ---- */

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
  for (size_t i = 0; i < map->count + map->covered; i++) {
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

/* Reserves all memory that an installation needs. `spare`: as many places as fresh shards. */
static bool reserve(const kin_shard_map *map, kin_shard_queues *shards, kin_shard_queue ***spare) {
  size_t all = map->count + map->covered + map->fresh_count;
  for (kin_shard_queue *shard = map->retired; shard; shard = shard->next)
    all++;
  *spare = malloc(map->fresh_count * sizeof **spare);
  if (*spare && kin_timers_reserve(&shards->timers, all))
    return true;
  free(*spare);
  return false;
}

/* Takes the fresh shards into use. Returns whether all of them were in the map before. */
static bool take_fresh(kin_shard_map *map, bool predicts, kin_time now) {
  bool all_reused = true;
  for (size_t i = 0; i < map->fresh_count; i++) {
    kin_shard_queue *shard = map->fresh[i];
    if (!shard->reused && predicts)
      kin_limiter_init(&shard->limiter, map->options.rate_limit, now);
    all_reused = all_reused && shard->reused;
    shard->reused = shard->disputed = false;
  }
  return all_reused;
}

/* Asks again for a list that is not whole, ever more rarely. */
static void plan_recheck(kin_shard_map *map, bool whole, kin_time now) {
  kin_time wait = backoff_min << (map->rechecks < 5 ? map->rechecks : 5);
  map->rechecks = whole ? 0 : map->rechecks + 1;
  map->recheck_at = whole ? KIN_NEVER : now + (wait < backoff_max ? wait : backoff_max);
}

/* Whether records that landed outside the ranges of their shards are explained. Another map ends
 * the doubt, which was about the former one; the same map again confirms it, unless the answer is
 * from before that. */
static void end_doubt(kin_shard_map *map) {
  map->distrusted = map->distrusted && !map->changed;
  if (map->changed)
    map->doubted_at = 0;
  if (map->doubted_at == 0)
    return;
  if (map->asked_at < map->doubted_at) {
    kin_shard_map_invalidate(map);
    return;
  }
  map->doubted_at = 0;
  kin_shard_map_distrust(map);
}

static bool install(kin_shard_map *map, kin_shard_queues *shards, kin_record_list *records,
                    kin_time now) {
  size_t shard_count = map->fresh_count, before = map->count + map->covered;
  bool predicts = shard_count > 0 && !map->refused && !map->summary.service_managed;
  kin_shard_queue **spare;
  if (!predicts && !make_single(map, (double)(map->refused ? 0 : shard_count), now))
    return false;
  if (!reserve(map, shards, &spare))
    return false;
  retire(map, shards, records);
  map->changed = !take_fresh(map, predicts, now) || map->fresh_count != before;
  free(map->shards);
  map->shards = map->fresh;
  qsort(map->shards, map->fresh_count, sizeof *map->shards, by_range);
  map->covered = cover(map->shards, map->fresh_count, spare);
  map->count = map->fresh_count - map->covered;
  map->fresh = NULL;
  map->fresh_count = map->fresh_capacity = 0;
  kin_listed_ids_free(&map->listed);
  map->predicts = predicts;
  map->ready = true;
  free(spare);
  bool overlaps = dispute_overlaps(map), gaps = dispute_gaps(map);
  bool empty = shard_count == 0 && !map->refused;
  plan_recheck(map, !overlaps && !gaps && !empty, now);
  end_doubt(map);
  return true;
}

/* ---- answers ---- */

static void note_bad_answer(kin_shard_map *map, const kin_call *call, const char *what) {
  map->error = call->request.error;
  if (map->error.class == KIN_OK && map->out_of_memory)
    kin_error_set(&map->error, KIN_TRANSIENT, KIN_CODE_OUT_OF_MEMORY, "out of memory for %s",
                  call->request.operation);
  else if (map->error.class == KIN_OK)
    kin_error_set(&map->error, KIN_TRANSIENT, KIN_CODE_BAD_ANSWER, "%s %s", what,
                  call->request.operation);
  map->stale = true;
}

static void note_error(kin_shard_map *map, const kin_call *call) {
  note_bad_answer(map, call, "the answer is not that of");
}

/* The service refuses to tell: the error is about the stream, not about credentials, memory or an
 * expired token. While no map is installed, errors of credentials count, too: records must not wait
 * for the map longer than for credentials. */
static bool is_refusal(const kin_shard_map *map, const kin_error *error) {
  if (error->class != KIN_FATAL || strcmp(error->code, "ExpiredNextTokenException") == 0)
    return false;
  return !map->ready || (error->status != 0 && !kin_error_is_about_credentials(error));
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
  size_t before = map->listed.count;
  if (is_refusal(map, &call->request.error))
    map->refused = true;
  else if (call->request.error.class != KIN_OK ||
           !kin_list_all_shards_read(answer->at, answer->len, note_listed, map, &token))
    note_error(map, call);
  else if (token.len > 0 && !kin_list_pages_go_on(&map->pages, token, map->listed.count - before))
    note_bad_answer(map, call, "there is no end, and nothing new, in the pages of");
  else if (token.len > 0 && !ask(map, machine, "ListShards", token)) {
    map->out_of_memory = true;
    note_error(map, call);
  }
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
  bool complete = !map->stale;
  if (!complete || !install(map, shards, records, now)) {
    if (complete)
      kin_error_set(&map->error, KIN_TRANSIENT, KIN_CODE_OUT_OF_MEMORY,
                    "out of memory for the map of shards");
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
