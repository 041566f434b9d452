#include "producer/ring.h"

#include <stdlib.h>

typedef struct kin_ring_place {
  kin_user_record *record;
  size_t bytes;
} place;

enum { FIRST_ROOM = 256 };

static place *at(const kin_ring *ring, size_t i) {
  return &ring->places[(ring->first + i) & (ring->room - 1)];
}

void kin_ring_free(kin_ring *ring) {
  for (size_t i = 0; i < ring->count; i++)
    kin_user_record_free(at(ring, i)->record);
  free(ring->places);
  *ring = (kin_ring){0};
}

bool kin_ring_reserve(kin_ring *ring) {
  size_t room = ring->room ? 2 * ring->room : FIRST_ROOM;
  if (ring->count < ring->room)
    return true;
  place *places = malloc(room * sizeof *places);
  if (!places)
    return false;
  for (size_t i = 0; i < ring->count; i++)
    places[i] = *at(ring, i);
  free(ring->places);
  ring->places = places;
  ring->first = 0;
  ring->room = room;
  return true;
}

void kin_ring_add(kin_ring *ring, kin_user_record *record) {
  size_t bytes = kin_user_record_bytes(record);
  *at(ring, ring->count++) = (place){record, bytes};
  ring->bytes += bytes;
}

const kin_user_record *kin_ring_first(const kin_ring *ring) {
  return at(ring, 0)->record;
}

size_t kin_ring_take(kin_ring *ring, kin_user_record **records, size_t most) {
  size_t count = ring->count < most ? ring->count : most;
  for (size_t i = 0; i < count; i++) {
    records[i] = at(ring, i)->record;
    ring->bytes -= at(ring, i)->bytes;
  }
  ring->first += count;
  ring->count -= count;
  return count;
}
