/* ring: records in order, as pointers in an array: where there are many more than the caches hold,
 * who takes them can have the next ones fetched ahead, which a list does not allow. The owner
 * locks.
 */
#ifndef KIN_PRODUCER_RING_H
#define KIN_PRODUCER_RING_H

#include "producer/record.h"

typedef struct kin_ring {
  struct kin_ring_place *places;
  size_t first, count, room; /* room: a power of two */
  size_t bytes;              /* data and keys */
} kin_ring;

/* Frees the records, too. */
void kin_ring_free(kin_ring *ring);

/* Room for one more. False when memory is out. */
bool kin_ring_reserve(kin_ring *ring);
void kin_ring_add(kin_ring *ring, kin_user_record *record);

/* Of a ring that is not empty. */
const kin_user_record *kin_ring_first(const kin_ring *ring);

/* The first ones, at most so many; returns how many. Does not touch them. */
size_t kin_ring_take(kin_ring *ring, kin_user_record **records, size_t most);

#endif
