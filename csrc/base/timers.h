/* timers: a heap of timers, which are members of their owners. One thread. */
#ifndef KIN_BASE_TIMERS_H
#define KIN_BASE_TIMERS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"

typedef struct kin_timer {
  kin_time due;
  size_t position; /* 1 + index in the heap; 0: not set */
} kin_timer;

typedef struct kin_timers {
  kin_timer **heap;
  size_t count, capacity;
} kin_timers;

/* Makes space for `count` timers, so that setting one cannot fail. False: out of memory. */
bool kin_timers_reserve(kin_timers *timers, size_t count);
void kin_timers_free(kin_timers *timers);

/* Sets or moves a timer; KIN_NEVER unsets it. */
void kin_timers_set(kin_timers *timers, kin_timer *timer, kin_time due);

/* When the first timer is due, or KIN_NEVER. */
kin_time kin_timers_next(const kin_timers *timers);

/* Unsets and returns a timer that is due, or NULL. */
kin_timer *kin_timers_pop(kin_timers *timers, kin_time now);

/* The structure whose member `pointer` is. */
#define KIN_OWNER(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

#endif
