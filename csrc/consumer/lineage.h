/* lineage: the shards of a reader, and who comes from whom: parents are read before their children.
 * https://docs.aws.amazon.com/streams/latest/dev/kinesis-using-sdk-java-after-resharding.html */
#ifndef KIN_CONSUMER_LINEAGE_H
#define KIN_CONSUMER_LINEAGE_H

#include "consumer/poller.h"

typedef struct kin_lineage {
  kin_shard *shards; /* owned; linked by `next` */
  size_t count;
} kin_lineage;

void kin_lineage_free(kin_lineage *lineage);

kin_shard *kin_lineage_find(const kin_lineage *lineage, kin_slice id);

/* Takes the shard; unless it is done, it waits. */
void kin_lineage_add(kin_lineage *lineage, kin_shard *shard);

/* The next shard behind `last` (NULL: the first) that waits and whose parents are all read, as far
 * as they are here; or NULL. */
kin_shard *kin_lineage_next_free(const kin_lineage *lineage, const kin_shard *last);

/* Whether a shard waits for this one. */
bool kin_lineage_is_awaited(const kin_lineage *lineage, const kin_shard *parent);

/* Shards that are not done. */
size_t kin_lineage_alive(const kin_lineage *lineage);

#endif
