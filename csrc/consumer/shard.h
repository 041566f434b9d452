/* shard: one shard of a reader: its place in the lineage, the source of its pages, and what the
 * reader has to know between two calls. Made by either thread; once the reader has it, owned by it
 * and touched by the engine thread only. */
#ifndef KIN_CONSUMER_SHARD_H
#define KIN_CONSUMER_SHARD_H

#include "base/timers.h"
#include "consumer/lineage.h"
#include "consumer/source.h"

typedef struct kin_shard {
  kin_lineage_node node; /* first */
  kin_source *source;    /* owned */
  kin_timer timer;
  bool initial;      /* the reader is ready once this shard has a position */
  unsigned failures; /* in a row */
  size_t reserved;   /* bytes taken from the window for the page that is fetched next */
  struct kin_shard *next_blocked;
} kin_shard;

/* In state KIN_SHARD_WAITING; a parent may be empty. NULL when memory is out. */
kin_shard *kin_shard_create(kin_slice id, const kin_slice parents[2], const kin_from *from);
void kin_shard_free(kin_shard *shard);

#endif
