#include "consumer/lineage.h"

kin_lineage_node *kin_lineage_find(const kin_lineage *lineage, kin_slice id) {
  if (id.len == 0)
    return NULL;
  kin_lineage_node *node = lineage->nodes;
  while (node && !kin_slice_is(id, node->id))
    node = node->next;
  return node;
}

void kin_lineage_add(kin_lineage *lineage, kin_lineage_node *node) {
  node->next = lineage->nodes;
  lineage->nodes = node;
  lineage->count++;
}

kin_lineage_node *kin_lineage_take(kin_lineage *lineage) {
  kin_lineage_node *node = lineage->nodes;
  if (node) {
    lineage->nodes = node->next;
    lineage->count--;
  }
  return node;
}

static bool parents_done(const kin_lineage *lineage, const kin_lineage_node *node) {
  for (int i = 0; i < 2; i++) {
    const kin_lineage_node *parent = kin_lineage_find(lineage, kin_slice_of(node->parents[i]));
    if (parent && parent->state != KIN_SHARD_DONE)
      return false;
  }
  return true;
}

kin_lineage_node *kin_lineage_next_free(const kin_lineage *lineage, const kin_lineage_node *last) {
  kin_lineage_node *node = last ? last->next : lineage->nodes;
  while (node && (node->state != KIN_SHARD_WAITING || !parents_done(lineage, node)))
    node = node->next;
  return node;
}

bool kin_lineage_is_awaited(const kin_lineage *lineage, const kin_lineage_node *parent) {
  for (const kin_lineage_node *node = lineage->nodes; node; node = node->next)
    if (node->state == KIN_SHARD_WAITING &&
        (strcmp(node->parents[0], parent->id) == 0 || strcmp(node->parents[1], parent->id) == 0))
      return true;
  return false;
}

size_t kin_lineage_alive(const kin_lineage *lineage) {
  size_t alive = 0;
  for (const kin_lineage_node *node = lineage->nodes; node; node = node->next)
    alive += node->state != KIN_SHARD_DONE;
  return alive;
}
