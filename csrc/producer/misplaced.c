#include <stdlib.h>

#include "producer/internal.h"

struct kin_misplaced {
  kin_misplaced *next;
  kin_time at; /* when the answer came */
  kin_time deadline;
  bool predicted; /* it is in the shard that was predicted, but the map is in doubt */
  kin_record_list records;
  kin_stored stored;
};

/* Stop waiting for the new shard map after this long; KCL readers drop a misplaced aggregate
 * anyway.
 */
static const kin_time wait_max = 60 * KIN_SECOND;

static bool is_in_range(kin_hash hash, const kin_shard_queue *shard) {
  return kin_hash_compare(hash, shard->first) >= 0 && kin_hash_compare(hash, shard->last) <= 0;
}

/* A record that was routed while no shard was predicted has no hash, and may be anywhere. */
static bool all_in_range(const kin_record_list *records, const kin_shard_queue *shard) {
  for (const kin_user_record *record = records->first; record; record = record->next)
    if (record->hashed && !is_in_range(record->hash, shard))
      return false;
  return true;
}

kin_placement kin_misplaced_classify(const kin_producer *self, const kin_batch_entry *entry,
                                     kin_slice shard_id) {
  const kin_shard_queue *shard = entry->shard;
  bool predicted = kin_slice_is(shard_id, shard->metrics->shard_id);
  if (!self->map.predicts)
    return predicted || entry->records.count == 1 ? KIN_PLACEMENT_PREDICTED : KIN_PLACEMENT_UNKNOWN;
  if (predicted && !shard->retired)
    return KIN_PLACEMENT_PREDICTED;
  const kin_shard_queue *other = kin_shard_map_named(&self->map, shard_id);
  if (!other) /* a shard that was closed since is not in the map */
    return predicted ? KIN_PLACEMENT_PREDICTED : KIN_PLACEMENT_UNKNOWN;
  if (all_in_range(&entry->records, other))
    return KIN_PLACEMENT_RIGHT;
  const kin_user_record *first = entry->records.first; /* which has the hash of the aggregate */
  bool former = shard->retired && first->hashed && is_in_range(first->hash, other);
  return former ? KIN_PLACEMENT_FORMER : KIN_PLACEMENT_WRONG;
}

/* Readers that do not check the range of a shard find these records twice. A record that was
 * misplaced before is sent alone: then it is stored wherever it lands. */
static void send_again(kin_producer *self, kin_record_list *records, bool alone) {
  kin_count(&self->metrics->misplaced_records, records->count);
  for (kin_user_record *record = records->first; record; record = record->next) {
    record->alone = alone || record->misplaced;
    record->misplaced = true;
  }
  kin_completion_retry(self, records, true);
}

static void add(kin_producer *self, kin_misplaced *misplaced) {
  misplaced->next = NULL;
  *(self->misplaced ? &self->last_misplaced->next : &self->misplaced) = misplaced;
  self->last_misplaced = misplaced;
}

/* Keeps the entry's records until the map is asked again. False when memory is out. */
static bool keep(kin_producer *self, kin_batch_entry *entry, const kin_stored *where,
                 kin_time now) {
  kin_time ttl = self->options.ttl;
  kin_misplaced *misplaced = malloc(sizeof *misplaced);
  if (!misplaced)
    return false;
  *misplaced = (kin_misplaced){
      .at = now,
      .deadline = now + (ttl < wait_max ? ttl : wait_max),
      .predicted = entry->placement == KIN_PLACEMENT_PREDICTED,
      .records = entry->records,
      .stored = *where,
  };
  entry->records = (kin_record_list){0};
  add(self, misplaced);
  return true;
}

void kin_misplaced_take(kin_producer *self, kin_batch_entry *entry, const kin_stored *where,
                        kin_time now) {
  const kin_shard_map *map = &self->map;
  if (entry->placement == KIN_PLACEMENT_FORMER && !map->stale && map->asking == 0) {
    send_again(self, &entry->records, false);
    return;
  }
  if (map->predicts && keep(self, entry, where, now))
    return;
  if (entry->placement == KIN_PLACEMENT_PREDICTED)
    kin_completion_store(self, &entry->records, entry->receipts ? where : NULL);
  else
    send_again(self, &entry->records, true);
}

/* ---- the new map ---- */

/* Whether the map shows that the aggregate went where its hash key belongs, or that this shard was
 * closed since. */
static bool is_explained(const kin_shard_map *map, const kin_misplaced *misplaced,
                         const kin_shard_queue *shard) {
  return shard ? is_in_range(misplaced->records.first->hash, shard) : map->changed;
}

/* Decides about the records. False: only a map that is asked for later can. */
static bool resolve(kin_producer *self, kin_misplaced *misplaced) {
  kin_shard_map *map = &self->map;
  kin_record_list *records = &misplaced->records;
  if (!map->predicts) {
    if (misplaced->predicted)
      kin_completion_store(self, records, &misplaced->stored);
    else
      send_again(self, records, true);
    return true;
  }
  const kin_shard_queue *shard = kin_shard_map_named(map, kin_slice_of(misplaced->stored.shard_id));
  bool right = shard ? all_in_range(records, shard) : misplaced->predicted;
  if (right)
    kin_completion_store(self, records, &misplaced->stored);
  else if (misplaced->predicted || is_explained(map, misplaced, shard))
    send_again(self, records, false);
  else if (map->asked_at < misplaced->at)
    return false;
  else {
    kin_shard_map_distrust(map);
    send_again(self, records, true);
  }
  return true;
}

void kin_misplaced_resolve(kin_producer *self) {
  kin_misplaced *next, *misplaced = self->misplaced;
  self->misplaced = self->last_misplaced = NULL;
  for (; misplaced; misplaced = next) {
    next = misplaced->next;
    if (resolve(self, misplaced))
      free(misplaced);
    else
      add(self, misplaced);
  }
  if (self->misplaced)
    kin_shard_map_invalidate(&self->map);
}

/* ---- without a new map ---- */

kin_time kin_misplaced_next(const kin_producer *self) {
  return self->misplaced ? self->misplaced->deadline : KIN_NEVER;
}

void kin_misplaced_expire(kin_producer *self, kin_time now) {
  kin_misplaced *misplaced;
  while ((misplaced = self->misplaced) && misplaced->deadline <= now) {
    kin_record_list *records = &misplaced->records, stored = {0};
    self->misplaced = misplaced->next;
    while (records->first && (misplaced->predicted ||
                              kin_time_after(records->first->accepted, self->options.ttl) <= now))
      kin_record_list_add(&stored, kin_record_list_take(records));
    kin_completion_store(self, &stored, &misplaced->stored);
    send_again(self, records, true);
    free(misplaced);
  }
}

void kin_misplaced_free(kin_producer *self, kin_record_list *records) {
  kin_misplaced *misplaced;
  while ((misplaced = self->misplaced)) {
    self->misplaced = misplaced->next;
    for (kin_user_record *record = misplaced->records.first; record; record = record->next)
      record->maybe_stored = true;
    kin_record_list_merge(records, &misplaced->records);
    free(misplaced);
  }
}
