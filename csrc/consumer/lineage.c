#include "consumer/lineage.h"

void kin_lineage_free(kin_lineage *lineage) {
  while (lineage->shards) {
    kin_shard *shard = lineage->shards;
    lineage->shards = shard->next;
    kin_shard_free(shard);
  }
  lineage->count = 0;
}

kin_shard *kin_lineage_find(const kin_lineage *lineage, kin_slice id) {
  if (id.len == 0)
    return NULL;
  kin_shard *shard = lineage->shards;
  while (shard && !kin_slice_is(id, shard->id))
    shard = shard->next;
  return shard;
}

void kin_lineage_add(kin_lineage *lineage, kin_shard *shard) {
  if (shard->state != KIN_SHARD_DONE)
    shard->state = KIN_SHARD_WAITING;
  shard->next = lineage->shards;
  lineage->shards = shard;
  lineage->count++;
}

static bool parents_done(const kin_lineage *lineage, const kin_shard *shard) {
  for (int i = 0; i < 2; i++) {
    const kin_shard *parent = kin_lineage_find(lineage, kin_slice_of(shard->parents[i]));
    if (parent && parent->state != KIN_SHARD_DONE)
      return false;
  }
  return true;
}

kin_shard *kin_lineage_next_free(const kin_lineage *lineage, const kin_shard *last) {
  kin_shard *shard = last ? last->next : lineage->shards;
  while (shard && (shard->state != KIN_SHARD_WAITING || !parents_done(lineage, shard)))
    shard = shard->next;
  return shard;
}

bool kin_lineage_is_awaited(const kin_lineage *lineage, const kin_shard *parent) {
  for (const kin_shard *shard = lineage->shards; shard; shard = shard->next)
    if (shard->state == KIN_SHARD_WAITING &&
        (strcmp(shard->parents[0], parent->id) == 0 || strcmp(shard->parents[1], parent->id) == 0))
      return true;
  return false;
}

size_t kin_lineage_alive(const kin_lineage *lineage) {
  size_t alive = 0;
  for (const kin_shard *shard = lineage->shards; shard; shard = shard->next)
    alive += shard->state != KIN_SHARD_DONE;
  return alive;
}
