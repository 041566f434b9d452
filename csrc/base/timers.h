/* timers: what is due next, as a heap of timers that live inside their owners. One thread. */
#ifndef KIN_BASE_TIMERS_H
#define KIN_BASE_TIMERS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"

typedef struct kin_timer {
  kin_time due;
  size_t place; /* 1 + index in the heap; 0 when not set */
} kin_timer;

typedef struct kin_timers {
  kin_timer **heap;
  size_t count, room;
} kin_timers;

/* Makes sure that `count` timers can be set, so that setting one cannot fail. */
bool kin_timers_reserve(kin_timers *timers, size_t count);
void kin_timers_free(kin_timers *timers);

/* Sets or moves; KIN_NEVER unsets. */
void kin_timers_set(kin_timers *timers, kin_timer *timer, kin_time due);

/* When the first is due, or KIN_NEVER. */
kin_time kin_timers_next(const kin_timers *timers);

/* Unsets and returns one that is due, or NULL. */
kin_timer *kin_timers_pop(kin_timers *timers, kin_time now);

/* The struct that a member lives in. */
#define KIN_OWNER(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

#endif
