#include "base/timers.h"

#include <stdlib.h>

bool kin_timers_reserve(kin_timers *timers, size_t count) {
  if (count <= timers->capacity)
    return true;
  size_t capacity = timers->capacity ? timers->capacity : 16;
  while (capacity < count)
    capacity *= 2;
  kin_timer **heap = realloc(timers->heap, capacity * sizeof *heap);
  if (!heap)
    return false;
  timers->heap = heap;
  timers->capacity = capacity;
  return true;
}

void kin_timers_free(kin_timers *timers) {
  free(timers->heap);
  *timers = (kin_timers){0};
}

static void put(kin_timers *timers, size_t i, kin_timer *timer) {
  timers->heap[i] = timer;
  timer->position = i + 1;
}

/* Moves `timer` from index `i` up or down to where the heap is ordered. */
static void sift(kin_timers *timers, size_t i, kin_timer *timer) {
  while (i > 0 && timers->heap[(i - 1) / 2]->due > timer->due) {
    put(timers, i, timers->heap[(i - 1) / 2]);
    i = (i - 1) / 2;
  }
  for (;;) {
    size_t child = 2 * i + 1;
    if (child >= timers->count)
      break;
    if (child + 1 < timers->count && timers->heap[child + 1]->due < timers->heap[child]->due)
      child++;
    if (timers->heap[child]->due >= timer->due)
      break;
    put(timers, i, timers->heap[child]);
    i = child;
  }
  put(timers, i, timer);
}

static void unset(kin_timers *timers, kin_timer *timer) {
  if (timer->position == 0)
    return;
  size_t i = timer->position - 1;
  kin_timer *last = timers->heap[--timers->count];
  timer->position = 0;
  if (last != timer)
    sift(timers, i, last);
}

void kin_timers_set(kin_timers *timers, kin_timer *timer, kin_time due) {
  if (due == KIN_NEVER) {
    unset(timers, timer);
    return;
  }
  timer->due = due;
  sift(timers, timer->position ? timer->position - 1 : timers->count++, timer);
}

kin_time kin_timers_next(const kin_timers *timers) {
  return timers->count ? timers->heap[0]->due : KIN_NEVER;
}

kin_timer *kin_timers_pop(kin_timers *timers, kin_time now) {
  if (timers->count == 0 || timers->heap[0]->due > now)
    return NULL;
  kin_timer *timer = timers->heap[0];
  unset(timers, timer);
  return timer;
}
