#include "consumer/shard.h"

#include <stdlib.h>

#include "consumer/poller.h"

kin_shard *kin_shard_create(kin_slice id, const kin_from *from) {
  kin_shard *shard = calloc(1, sizeof *shard);
  if (!shard)
    return NULL;
  kin_slice_copy(id, shard->node.id, sizeof shard->node.id);
  shard->node.state = from ? KIN_SHARD_WAITING : KIN_SHARD_DONE;
  if (!from)
    return shard;
  shard->source = kin_poller_create(from);
  if (!shard->source) {
    free(shard);
    return NULL;
  }
  shard->source->shard = shard;
  return shard;
}

void kin_shard_set_known(kin_shard *shard, kin_shard_known known) {
  kin_from_kind from = shard->source->from.kind;
  bool begun = from == KIN_FROM_AT || from == KIN_FROM_AFTER;
  shard->known = known;
  if (known.read && !known.unlisted)
    shard->node.state = KIN_SHARD_DONE;
  shard->ended = shard->node.state == KIN_SHARD_DONE;
  shard->node.begun = known.unlisted && begun;
}

void kin_shard_free(kin_shard *shard) {
  if (!shard)
    return;
  if (shard->source)
    shard->source->vtable->free(shard->source);
  free(shard);
}
