#include "consumer/shard.h"

#include <stdlib.h>

#include "consumer/poller.h"

kin_shard *kin_shard_create(kin_slice id, const kin_slice parents[2], const kin_from *from) {
  kin_shard *shard = calloc(1, sizeof *shard);
  if (!shard)
    return NULL;
  kin_lineage_node *node = &shard->node;
  kin_slice_copy(id, node->id, sizeof node->id);
  for (int i = 0; i < 2; i++)
    kin_slice_copy(parents[i], node->parents[i], sizeof node->parents[i]);
  node->state = KIN_SHARD_WAITING;
  shard->source = kin_poller_create(from);
  if (!shard->source) {
    free(shard);
    return NULL;
  }
  shard->source->shard = shard;
  return shard;
}

void kin_shard_free(kin_shard *shard) {
  if (!shard)
    return;
  shard->source->vtable->free(shard->source);
  free(shard);
}
