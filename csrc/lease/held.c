#include "lease/held.h"

#include <stdlib.h>

/* The index of the first lease whose key is not below this one. */
static size_t place_of(const kin_held_leases *held, kin_slice key) {
  size_t low = 0, high = held->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (kin_slice_compare(kin_slice_of(held->at[middle]->key), key) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

kin_lease *kin_held_find(const kin_held_leases *held, kin_slice key) {
  size_t place = place_of(held, key);
  kin_lease *lease = place < held->count ? held->at[place] : NULL;
  return lease && kin_slice_is(key, lease->key) ? lease : NULL;
}

bool kin_held_reserve(kin_held_leases *held, size_t count) {
  if (count <= held->capacity)
    return true;
  size_t more = 2 * held->capacity > count ? 2 * held->capacity : count + 15;
  kin_lease **at = realloc(held->at, more * sizeof(kin_lease *));
  if (!at)
    return false;
  held->at = at;
  held->capacity = more;
  return true;
}

void kin_held_add(kin_held_leases *held, kin_lease *lease) {
  size_t place = place_of(held, kin_slice_of(lease->key));
  memmove(held->at + place + 1, held->at + place, (held->count - place) * sizeof(kin_lease *));
  held->at[place] = lease;
  held->count++;
}

void kin_held_remove(kin_held_leases *held, const kin_lease *lease) {
  size_t place = place_of(held, kin_slice_of(lease->key));
  held->count--;
  memmove(held->at + place, held->at + place + 1, (held->count - place) * sizeof(kin_lease *));
}

void kin_held_free(kin_held_leases *held) {
  for (size_t i = 0; i < held->count; i++)
    kin_lease_free(held->at[i]);
  free(held->at);
}
