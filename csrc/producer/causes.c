#include "producer/causes.h"

#include <stdlib.h>

void kin_causes_init(kin_causes *causes) {
  *causes = (kin_causes){0};
  pthread_mutex_init(&causes->lock, NULL);
}

void kin_causes_destroy(kin_causes *causes) {
  for (size_t i = 0; i < causes->size; i++)
    free(causes->list[i]);
  pthread_mutex_destroy(&causes->lock);
}

/* NULL when memory is out. */
static kin_cause *find_or_create(kin_causes *causes, const char *code) {
  for (size_t i = 0; i < causes->size; i++)
    if (i == KIN_CAUSES - 1 || strcmp(causes->list[i]->error.code, code) == 0)
      return causes->list[i];
  kin_cause *cause = calloc(1, sizeof *cause);
  if (cause)
    causes->list[causes->size++] = cause;
  return cause;
}

bool kin_causes_note(kin_causes *causes, const kin_error *error, uint64_t count, bool report) {
  pthread_mutex_lock(&causes->lock);
  kin_cause *cause = find_or_create(causes, error->code);
  bool first = cause && report && cause->unreported == 0;
  if (cause) {
    cause->error = *error;
    cause->count += count;
    cause->unreported += report ? count : 0;
    if (error->class != KIN_OK) { /* else a notice */
      causes->newest = cause;
      causes->current = true;
    }
  }
  pthread_mutex_unlock(&causes->lock);
  return first;
}

void kin_causes_end(kin_causes *causes) {
  pthread_mutex_lock(&causes->lock);
  causes->current = false;
  pthread_mutex_unlock(&causes->lock);
}

uint64_t kin_causes_next(kin_causes *causes, bool fatal, kin_error *error) {
  uint64_t count = 0;
  pthread_mutex_lock(&causes->lock);
  for (size_t i = 0; i < causes->size && count == 0; i++) {
    kin_cause *cause = causes->list[i];
    if (cause->unreported == 0 || (cause->error.class == KIN_FATAL && !fatal))
      continue;
    count = cause->unreported;
    cause->unreported = 0;
    *error = cause->error;
  }
  pthread_mutex_unlock(&causes->lock);
  return count;
}

bool kin_causes_newest(kin_causes *causes, kin_error *error, bool *current) {
  pthread_mutex_lock(&causes->lock);
  bool known = causes->newest != NULL;
  if (known)
    *error = causes->newest->error;
  *current = causes->current;
  pthread_mutex_unlock(&causes->lock);
  return known;
}

size_t kin_causes_count(kin_causes *causes, kin_cause_count counts[KIN_CAUSES]) {
  pthread_mutex_lock(&causes->lock);
  size_t size = 0;
  for (size_t i = 0; i < causes->size; i++) {
    const kin_cause *cause = causes->list[i];
    const char *code = i == KIN_CAUSES - 1 ? KIN_CAUSE_OTHER : cause->error.code;
    if (cause->error.class == KIN_OK)
      continue;
    kin_slice_copy(kin_slice_of(code), counts[size].code, sizeof counts[size].code);
    counts[size++].count = cause->count;
  }
  pthread_mutex_unlock(&causes->lock);
  return size;
}
