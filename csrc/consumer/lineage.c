#include "consumer/lineage.h"

#include <stdlib.h>

void kin_lineage_init(kin_lineage *lineage) {
  *lineage = (kin_lineage){0};
  lineage->last_unlinked = &lineage->unlinked;
  lineage->last_ready = &lineage->ready;
}

void kin_lineage_free(kin_lineage *lineage) {
  free(lineage->buckets);
  kin_lineage_init(lineage);
}

/* ---- the index ---- */

static kin_lineage_node **bucket_of(const kin_lineage *lineage, kin_slice id) {
  return &lineage->buckets[kin_slice_hash(id) & (lineage->bucket_count - 1)];
}

static void put(kin_lineage *lineage, kin_lineage_node *node) {
  kin_lineage_node **bucket = bucket_of(lineage, kin_slice_of(node->id));
  node->next_in_bucket = *bucket;
  *bucket = node;
}

/* False: memory is out. */
static bool reserve(kin_lineage *lineage) {
  if (lineage->count < lineage->bucket_count)
    return true;
  size_t count = lineage->bucket_count ? 2 * lineage->bucket_count : 16;
  kin_lineage_node **buckets = calloc(count, sizeof *buckets);
  if (!buckets)
    return false;
  free(lineage->buckets);
  lineage->buckets = buckets;
  lineage->bucket_count = count;
  for (kin_lineage_node *node = lineage->nodes; node; node = node->next)
    put(lineage, node);
  return true;
}

kin_lineage_node *kin_lineage_find(kin_lineage *lineage, kin_slice id) {
  if (id.len == 0 || lineage->bucket_count == 0)
    return NULL;
  kin_lineage_node *node = *bucket_of(lineage, id);
  while (node && !kin_slice_is(id, node->id)) {
    lineage->visits++;
    node = node->next_in_bucket;
  }
  return node;
}

/* ---- nodes and their parents ---- */

void kin_lineage_offer(kin_lineage *lineage, kin_lineage_node *node) {
  if (node->awaits > 0 || node->state != KIN_SHARD_WAITING || node->offered)
    return;
  node->offered = true;
  node->next_ready = NULL;
  *lineage->last_ready = node;
  lineage->last_ready = &node->next_ready;
}

kin_lineage_node *kin_lineage_take_ready(kin_lineage *lineage) {
  kin_lineage_node *node = lineage->ready;
  if (!node)
    return NULL;
  lineage->ready = node->next_ready;
  if (!lineage->ready)
    lineage->last_ready = &lineage->ready;
  node->offered = false;
  return node;
}

static void add_unlinked(kin_lineage *lineage, kin_lineage_node *node) {
  if (node->unlinked)
    return;
  node->unlinked = true;
  node->next_unlinked = NULL;
  *lineage->last_unlinked = node;
  lineage->last_unlinked = &node->next_unlinked;
}

void kin_lineage_set_parents(kin_lineage *lineage, kin_lineage_node *node,
                             const kin_slice parents[2]) {
  for (int i = 0; i < 2; i++) {
    kin_parent_link *link = &node->parents[i];
    link->child = node;
    if (link->id[0] != '\0' || parents[i].len == 0)
      continue;
    kin_slice_copy(parents[i], link->id, sizeof link->id);
    link->state = KIN_PARENT_UNKNOWN;
    node->awaits += !node->begun;
  }
  if (kin_lineage_has_unknown(node))
    add_unlinked(lineage, node);
  kin_lineage_offer(lineage, node);
}

bool kin_lineage_add(kin_lineage *lineage, kin_lineage_node *node, const kin_slice parents[2]) {
  if (!reserve(lineage))
    return false;
  put(lineage, node);
  node->next = lineage->nodes;
  lineage->nodes = node;
  lineage->count++;
  lineage->alive += node->state != KIN_SHARD_DONE;
  kin_lineage_set_parents(lineage, node, parents);
  return true;
}

kin_lineage_node *kin_lineage_take(kin_lineage *lineage) {
  kin_lineage_node *node = lineage->nodes;
  if (node)
    lineage->nodes = node->next;
  return node;
}

static void attach(kin_parent_link *link, kin_lineage_node *parent) {
  link->parent = parent;
  link->next = parent->children;
  parent->children = link;
  if (parent->state == KIN_SHARD_DONE || link->child->begun) {
    link->state = link->child->begun ? KIN_PARENT_PASSED : KIN_PARENT_READ;
    link->child->awaits -= !link->child->begun;
  } else {
    link->state = KIN_PARENT_AWAITED;
    parent->awaited_by++;
  }
}

/* The child need not wait for this parent any more. */
static void stop_waiting(kin_lineage *lineage, kin_parent_link *link, int state) {
  link->state = state;
  link->parent->awaited_by--;
  link->child->awaits--;
  kin_lineage_offer(lineage, link->child);
}

void kin_lineage_link(kin_lineage *lineage) {
  kin_lineage_node *node = lineage->unlinked, *next;
  lineage->unlinked = NULL;
  lineage->last_unlinked = &lineage->unlinked;
  for (; node; node = next) {
    next = node->next_unlinked;
    node->unlinked = false;
    lineage->visits++;
    for (int i = 0; i < 2; i++) {
      kin_parent_link *link = &node->parents[i];
      kin_lineage_node *parent = link->state == KIN_PARENT_UNKNOWN
                                     ? kin_lineage_find(lineage, kin_slice_of(link->id))
                                     : NULL;
      if (parent)
        attach(link, parent);
    }
    /* a begun one waits for none; the next list that names it brings it back */
    if (kin_lineage_has_unknown(node) && !node->begun)
      add_unlinked(lineage, node);
    kin_lineage_offer(lineage, node);
  }
}

bool kin_lineage_has_unknown(const kin_lineage_node *node) {
  return node->parents[0].state == KIN_PARENT_UNKNOWN ||
         node->parents[1].state == KIN_PARENT_UNKNOWN;
}

void kin_lineage_drop_unknown(kin_lineage *lineage, kin_lineage_node *node) {
  for (int i = 0; i < 2; i++) {
    if (node->parents[i].state != KIN_PARENT_UNKNOWN)
      continue;
    node->parents[i].state = KIN_PARENT_NONE;
    node->awaits -= !node->begun;
  }
  kin_lineage_offer(lineage, node);
}

void kin_lineage_hold(kin_lineage_node *node) {
  node->held = true;
  node->awaits++;
}

void kin_lineage_release(kin_lineage *lineage, kin_lineage_node *node) {
  if (!node->held)
    return;
  node->held = false;
  node->awaits--;
  kin_lineage_offer(lineage, node);
}

void kin_lineage_done(kin_lineage *lineage, kin_lineage_node *node) {
  lineage->alive--;
  for (kin_parent_link *link = node->children; link; link = link->next) {
    lineage->visits++;
    if (link->state == KIN_PARENT_AWAITED)
      stop_waiting(lineage, link, KIN_PARENT_READ);
  }
}

static void await(kin_parent_link *link) {
  link->state = KIN_PARENT_AWAITED;
  link->parent->awaited_by++;
  link->child->awaits++;
}

void kin_lineage_revive(kin_lineage *lineage, kin_lineage_node *node) {
  lineage->alive++;
  for (kin_parent_link *link = node->children; link; link = link->next)
    if (link->state == KIN_PARENT_READ && link->child->state == KIN_SHARD_WAITING)
      await(link);
}

void kin_lineage_wait(kin_lineage *lineage, kin_lineage_node *node) {
  for (int i = 0; i < 2; i++) {
    kin_parent_link *link = &node->parents[i];
    if (link->state != KIN_PARENT_READ && link->state != KIN_PARENT_PASSED)
      continue;
    if (link->parent->state == KIN_SHARD_DONE)
      link->state = KIN_PARENT_READ;
    else
      await(link);
  }
  kin_lineage_offer(lineage, node);
}

/* ---- circles ---- */

static void enter(kin_lineage *lineage, kin_lineage_node *node, kin_lineage_node *below) {
  lineage->visits++;
  node->pass = lineage->passes;
  node->on_path = true;
  node->at = 0;
  node->below = below;
}

/* Walks up from a node through all that it waits for, depth first. */
static void walk_up(kin_lineage *lineage, kin_lineage_node *start, kin_lineage_broken *broken,
                    void *context) {
  kin_lineage_node *node = start;
  enter(lineage, node, NULL);
  while (node) {
    if (node->at == 2) {
      node->on_path = false;
      node = node->below;
      continue;
    }
    kin_parent_link *link = &node->parents[node->at++];
    kin_lineage_node *parent = link->state == KIN_PARENT_AWAITED ? link->parent : NULL;
    if (!parent || parent->state != KIN_SHARD_WAITING) {
      continue;
    } else if (parent->pass != lineage->passes) {
      enter(lineage, parent, node);
      node = parent;
    } else if (parent->on_path) {
      stop_waiting(lineage, link, KIN_PARENT_PASSED);
      broken(context, node, parent);
    }
  }
}

void kin_lineage_break_circle(kin_lineage *lineage, kin_lineage_node *node,
                              kin_lineage_broken *broken, void *context) {
  lineage->passes++;
  walk_up(lineage, node, broken, context);
}

void kin_lineage_break_circles(kin_lineage *lineage, kin_lineage_broken *broken, void *context) {
  lineage->passes++;
  for (kin_lineage_node *node = lineage->nodes; node; node = node->next)
    if (node->state == KIN_SHARD_WAITING && node->pass != lineage->passes)
      walk_up(lineage, node, broken, context);
}
