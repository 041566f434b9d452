#include "base/deadline.h"

#include <stdatomic.h>
#include <stdlib.h>

struct kin_deadline {
  atomic_int references;
  atomic_int_fast64_t at;
};

kin_deadline *kin_deadline_create(void) {
  kin_deadline *deadline = malloc(sizeof *deadline);
  if (!deadline)
    return NULL;
  atomic_init(&deadline->references, 1);
  atomic_init(&deadline->at, 0);
  return deadline;
}

kin_deadline *kin_deadline_hold(kin_deadline *deadline) {
  atomic_fetch_add(&deadline->references, 1);
  return deadline;
}

void kin_deadline_release(kin_deadline *deadline) {
  if (deadline && atomic_fetch_sub(&deadline->references, 1) == 1)
    free(deadline);
}

void kin_deadline_set(kin_deadline *deadline, kin_time boottime) {
  atomic_store(&deadline->at, boottime);
}

kin_time kin_deadline_left(const kin_deadline *deadline, kin_time boottime) {
  kin_time at = (kin_time)atomic_load(&deadline->at);
  return at > boottime ? at - boottime : 0;
}

bool kin_deadline_has_passed(const kin_deadline *deadline, kin_time boottime) {
  return kin_deadline_left(deadline, boottime) == 0;
}
