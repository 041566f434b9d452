#include "producer/ring.h"

#include <stdlib.h>

typedef struct kin_ring_slot {
  kin_user_record *record;
  size_t bytes;
} slot;

enum { FIRST_CAPACITY = 256 };

static slot *at(const kin_ring *ring, size_t i) {
  return &ring->slots[(ring->first + i) & (ring->capacity - 1)];
}

void kin_ring_free(kin_ring *ring) {
  for (size_t i = 0; i < ring->count; i++)
    kin_user_record_free(at(ring, i)->record);
  free(ring->slots);
  *ring = (kin_ring){0};
}

bool kin_ring_reserve(kin_ring *ring) {
  size_t capacity = ring->capacity ? 2 * ring->capacity : FIRST_CAPACITY;
  if (ring->count < ring->capacity)
    return true;
  slot *slots = malloc(capacity * sizeof *slots);
  if (!slots)
    return false;
  for (size_t i = 0; i < ring->count; i++)
    slots[i] = *at(ring, i);
  free(ring->slots);
  ring->slots = slots;
  ring->first = 0;
  ring->capacity = capacity;
  return true;
}

void kin_ring_add(kin_ring *ring, kin_user_record *record) {
  size_t bytes = kin_user_record_bytes(record);
  *at(ring, ring->count++) = (slot){record, bytes};
  ring->bytes += bytes;
}

const kin_user_record *kin_ring_first(const kin_ring *ring) {
  return at(ring, 0)->record;
}

size_t kin_ring_take(kin_ring *ring, kin_user_record **records, size_t max) {
  size_t count = ring->count < max ? ring->count : max;
  for (size_t i = 0; i < count; i++) {
    records[i] = at(ring, i)->record;
    ring->bytes -= at(ring, i)->bytes;
  }
  ring->first += count;
  ring->count -= count;
  return count;
}
