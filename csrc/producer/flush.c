#include "producer/flush.h"

unsigned kin_flush_marks_take(kin_flush_marks *marks) {
  unsigned count = (unsigned)(marks->asked - marks->seen);
  marks->seen = marks->asked;
  return count;
}

void kin_flushes_begin(kin_flushes *flushes, unsigned count, uint64_t serial, size_t open) {
  if (count == 0)
    return;
  if (flushes->count == KIN_FLUSHES_MAX)
    count += flushes->entries[--flushes->count].count;
  flushes->entries[flushes->count].serial = serial;
  flushes->entries[flushes->count].left = open;
  flushes->entries[flushes->count++].count = count;
}

unsigned kin_flushes_take_done(kin_flushes *flushes) {
  unsigned done = 0;
  size_t over = 0;
  while (over < flushes->count && flushes->entries[over].left == 0)
    done += flushes->entries[over++].count;
  if (over == 0)
    return 0;
  flushes->count -= over;
  memmove(flushes->entries, flushes->entries + over, flushes->count * sizeof *flushes->entries);
  return done;
}
