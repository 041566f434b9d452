/* ring: a FIFO of records as an array of pointers, so that the reader can prefetch records ahead,
 * which a list does not allow. The owner locks. */
#ifndef KIN_PRODUCER_RING_H
#define KIN_PRODUCER_RING_H

#include "producer/record.h"

typedef struct kin_ring {
  struct kin_ring_slot *slots;
  size_t first, count;
  size_t capacity; /* a power of two */
  size_t bytes;    /* of data and partition keys */
} kin_ring;

/* Frees the records, too. */
void kin_ring_free(kin_ring *ring);

/* Makes sure that one more record fits. False when memory is out. */
bool kin_ring_reserve(kin_ring *ring);
void kin_ring_add(kin_ring *ring, kin_user_record *record);

/* Of a ring that is not empty. */
const kin_user_record *kin_ring_first(const kin_ring *ring);

/* Moves the first records, at most `max`, into the array; returns how many. Does not access the
 * records. */
size_t kin_ring_take(kin_ring *ring, kin_user_record **records, size_t max);

#endif
