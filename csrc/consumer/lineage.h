/* lineage: the shards of a reader by descent: a shard is read after its parents.
 * https://docs.aws.amazon.com/streams/latest/dev/kinesis-using-sdk-java-after-resharding.html
 * Engine thread; before the reader is started, the Lua thread that builds it. */
#ifndef KIN_CONSUMER_LINEAGE_H
#define KIN_CONSUMER_LINEAGE_H

#include <stdbool.h>

#include "base/bytes.h"
#include "wire/limits.h"

/* reader.c has the chart. */
typedef enum {
  KIN_SHARD_WAITING,  /* for its parents */
  KIN_SHARD_STARTING, /* its source has no position yet */
  KIN_SHARD_READING,  /* its source has one */
  KIN_SHARD_BLOCKED,  /* the window is full */
  KIN_SHARD_DONE,
} kin_shard_state;

typedef struct kin_lineage_node {
  char id[KIN_SHARD_ID_MAX + 1];
  char parents[2][KIN_SHARD_ID_MAX + 1]; /* empty: none */
  kin_shard_state state;
  struct kin_lineage_node *next;
} kin_lineage_node;

typedef struct kin_lineage {
  kin_lineage_node *nodes; /* linked by `next`; owned by the shards that they are part of */
  size_t count;
} kin_lineage;

kin_lineage_node *kin_lineage_find(const kin_lineage *lineage, kin_slice id);
void kin_lineage_add(kin_lineage *lineage, kin_lineage_node *node);

/* Takes any node out; NULL when there is none. */
kin_lineage_node *kin_lineage_take(kin_lineage *lineage);

/* The next node behind `last` (NULL: the first) that waits and whose known parents are all done; or
 * NULL. */
kin_lineage_node *kin_lineage_next_free(const kin_lineage *lineage, const kin_lineage_node *last);

/* Whether a shard waits for this one. */
bool kin_lineage_is_awaited(const kin_lineage *lineage, const kin_lineage_node *parent);

/* How many shards are not done. */
size_t kin_lineage_alive(const kin_lineage *lineage);

#endif
