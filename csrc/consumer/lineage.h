/* lineage: the shards of a reader by descent: a shard is read after its parents. Knows which shards
 * are ready, by links between parents and children: what becomes of one shard costs what its own
 * family costs, however many others there are.
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
  KIN_SHARD_ASKING,   /* the list of shards decides what becomes of it */
  KIN_SHARD_PAUSED,   /* by a command */
  KIN_SHARD_DONE,
} kin_shard_state;

typedef struct kin_lineage_node kin_lineage_node;

/* A parent of a node, and the node as a child of that parent. */
typedef struct kin_parent_link {
  enum {
    KIN_PARENT_NONE,
    KIN_PARENT_UNKNOWN, /* not among the nodes */
    KIN_PARENT_AWAITED, /* not done */
    KIN_PARENT_READ,    /* done, before the node was released */
    KIN_PARENT_PASSED,  /* of no concern: the node does not wait for it */
  } state;
  char id[KIN_SHARD_ID_MAX + 1];
  kin_lineage_node *parent;     /* NULL: none, or unknown */
  kin_lineage_node *child;      /* whose link this is */
  struct kin_parent_link *next; /* of the parent's children */
} kin_parent_link;

/* Part of a shard; zeroed, with `id` and `state`, before it is added. */
struct kin_lineage_node {
  char id[KIN_SHARD_ID_MAX + 1];
  kin_parent_link parents[2];
  kin_parent_link *children;
  unsigned awaits;     /* unknown and awaited parents, and the hold */
  unsigned awaited_by; /* children that await this one */
  kin_shard_state state;
  bool begun;   /* it was read before: its parents are of no concern */
  bool held;    /* it waits until its parents are known */
  bool offered; /* it is ready, or was */
  bool unlinked;
  kin_lineage_node *next, *next_in_bucket, *next_unlinked, *next_ready;
  /* while circles are looked for */
  unsigned pass;
  bool on_path;
  int at;
  kin_lineage_node *below;
};

typedef struct kin_lineage {
  kin_lineage_node *nodes; /* linked by `next`; owned by the shards that they are part of */
  size_t count, alive;     /* alive: not done */
  kin_lineage_node **buckets;
  size_t bucket_count;
  kin_lineage_node *unlinked, **last_unlinked; /* some of their parents are unknown */
  kin_lineage_node *ready, **last_ready;
  unsigned passes;
  size_t visits; /* nodes and links that were looked at, for specs */
} kin_lineage;

void kin_lineage_init(kin_lineage *lineage);
void kin_lineage_free(kin_lineage *lineage);

/* NULL when there is none. */
kin_lineage_node *kin_lineage_find(kin_lineage *lineage, kin_slice id);

/* Adds a node; its parents count as unknown until kin_lineage_link. False: memory is out. */
bool kin_lineage_add(kin_lineage *lineage, kin_lineage_node *node, const kin_slice parents[2]);

/* Sets the parents of a node that was added without. */
void kin_lineage_set_parents(kin_lineage *lineage, kin_lineage_node *node,
                             const kin_slice parents[2]);

/* Looks again for all parents that are unknown. */
void kin_lineage_link(kin_lineage *lineage);

bool kin_lineage_has_unknown(const kin_lineage_node *node);

/* The unknown parents of the node do not exist any more: it does not wait for them. */
void kin_lineage_drop_unknown(kin_lineage *lineage, kin_lineage_node *node);

/* The node is not ready before its release, whatever its parents are. */
void kin_lineage_hold(kin_lineage_node *node);
void kin_lineage_release(kin_lineage *lineage, kin_lineage_node *node);

/* The node was set to DONE: its children need not wait for it. */
void kin_lineage_done(kin_lineage *lineage, kin_lineage_node *node);

/* The node is DONE, and will be read again: its children that still wait, wait for it, too. */
void kin_lineage_revive(kin_lineage *lineage, kin_lineage_node *node);

/* The node was set to WAITING again: it waits for those of its parents that are not done. */
void kin_lineage_wait(kin_lineage *lineage, kin_lineage_node *node);

/* The next node in WAITING that waits for nothing any more, once; or NULL. */
kin_lineage_node *kin_lineage_take_ready(kin_lineage *lineage);

/* Offers a node that is in WAITING again. */
void kin_lineage_offer(kin_lineage *lineage, kin_lineage_node *node);

/* Called for a node that waited for this parent in a circle, and does not any more. */
typedef void kin_lineage_broken(void *context, kin_lineage_node *node, kin_lineage_node *parent);

/* Breaks all circles of waiting nodes, each at one place; or those that the node waits for. */
void kin_lineage_break_circles(kin_lineage *lineage, kin_lineage_broken *broken, void *context);
void kin_lineage_break_circle(kin_lineage *lineage, kin_lineage_node *node,
                              kin_lineage_broken *broken, void *context);

/* Takes any node out; NULL when there is none. Only before the lineage is freed. */
kin_lineage_node *kin_lineage_take(kin_lineage *lineage);

#endif
