/* flush: which flushes are asked for, and which are done. A flush covers every record that was
 * accepted before it. kin_flush_marks counts the flushes of Lua and is shared by both threads,
 * under the queue's lock; kin_flushes counts the records that each flush still waits for, on the
 * engine thread. */
#ifndef KIN_PRODUCER_FLUSH_H
#define KIN_PRODUCER_FLUSH_H

#include "producer/record.h"

/* Flushes are numbered from 1 and are done in that order. */
typedef struct kin_flush_marks {
  uint64_t asked, seen, done; /* the newest number that Lua asked for, the machine saw, is done */
} kin_flush_marks;

/* How many flushes were asked for since the last call. */
unsigned kin_flush_marks_take(kin_flush_marks *marks);

/* Flushes that are counted apart; when there are more, the newest ones share a count. */
enum { KIN_FLUSHES_MAX = 8 };

typedef struct kin_flushes {
  struct {
    uint64_t serial; /* of the last record that the flush covers */
    size_t left;     /* records of those that have no outcome yet */
    unsigned count;  /* of flushes that share this entry */
  } entries[KIN_FLUSHES_MAX];
  size_t count;
} kin_flushes;

/* `count` more flushes, which cover the records up to `serial`, `open` of them. */
void kin_flushes_begin(kin_flushes *flushes, unsigned count, uint64_t serial, size_t open);

/* A record has its outcome. */
static inline void kin_flushes_note(kin_flushes *flushes, const kin_user_record *record) {
  for (size_t i = 0; i < flushes->count; i++)
    flushes->entries[i].left -= record->serial <= flushes->entries[i].serial;
}

/* Removes the flushes that are done and returns how many there were. */
unsigned kin_flushes_take_done(kin_flushes *flushes);

#endif
