#include "consumer/progress.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { KINDS = 4 };

struct kin_progress {
  atomic_int references;
  atomic_llong value; /* since * KINDS + kind: read at once */
};

kin_progress *kin_progress_create(void) {
  kin_progress *progress = malloc(sizeof *progress);
  if (!progress)
    return NULL;
  atomic_init(&progress->references, 1);
  atomic_init(&progress->value, KIN_PROGRESS_BEHIND);
  return progress;
}

kin_progress *kin_progress_hold(kin_progress *progress) {
  atomic_fetch_add(&progress->references, 1);
  return progress;
}

void kin_progress_release(kin_progress *progress) {
  if (progress && atomic_fetch_sub(&progress->references, 1) == 1)
    free(progress);
}

bool kin_progress_set(kin_progress *progress, kin_progress_kind kind, kin_time now) {
  long long value = atomic_load(&progress->value);
  if (value % KINDS == (long long)kind)
    return false;
  atomic_store(&progress->value, now * KINDS + (long long)kind);
  return true;
}

kin_progress_kind kin_progress_get(kin_progress *progress, kin_time *since) {
  long long value = atomic_load(&progress->value);
  *since = value / KINDS;
  return (kin_progress_kind)(value % KINDS);
}
