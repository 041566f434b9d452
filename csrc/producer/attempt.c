#include "producer/attempt.h"

#include <stdlib.h>

/* The attempts to keep before a new one: `before`, or without its newest when there are enough. */
static kin_attempt *kept_before(kin_attempt *before) {
  return before && before->depth + 1 == KIN_ATTEMPTS_MAX ? before->before : before;
}

/* Holds `before`; one reference. NULL when memory is out. */
static kin_attempt *create(kin_attempt *before, const kin_error *error,
                           const kin_attempt_outcome *outcome) {
  size_t len = strlen(error->message) + 1;
  kin_attempt *attempt = malloc(sizeof *attempt + len);
  if (!attempt)
    return NULL;
  if (before)
    atomic_fetch_add(&before->references, 1);
  attempt->before = before;
  atomic_init(&attempt->references, 1);
  attempt->depth = before ? before->depth + 1 : 0;
  attempt->at = outcome->at;
  attempt->duration = outcome->duration;
  attempt->class = error->class;
  attempt->status = error->status;
  memcpy(attempt->code, error->code, sizeof attempt->code);
  memcpy(attempt->request_id, error->request_id, sizeof attempt->request_id);
  memcpy(attempt->message, error->message, len);
  return attempt;
}

void kin_attempt_release(kin_attempt *attempt) {
  while (attempt && atomic_fetch_sub(&attempt->references, 1) == 1) {
    kin_attempt *before = attempt->before;
    free(attempt);
    attempt = before;
  }
}

static kin_attempt *find(const kin_attempt_outcome *outcome, const kin_attempt *before,
                         const kin_error *error) {
  for (size_t i = 0; i < KIN_ATTEMPTS_SHARED && outcome->shared[i]; i++) {
    kin_attempt *attempt = outcome->shared[i];
    if (attempt->before == before && attempt->status == error->status &&
        strcmp(attempt->code, error->code) == 0 && strcmp(attempt->message, error->message) == 0)
      return attempt;
  }
  return NULL;
}

/* The attempt that follows `before`, owned by `outcome`. When KIN_ATTEMPTS_SHARED are not enough,
 * the attempts before are dropped: one attempt for each record would take memory without bound.
 * NULL when memory is out. */
static kin_attempt *find_or_create(kin_attempt_outcome *outcome, kin_attempt *before,
                                   const kin_error *error) {
  kin_attempt *attempt = find(outcome, before, error);
  if (!attempt && before && outcome->made >= KIN_ATTEMPTS_SHARED)
    return find_or_create(outcome, NULL, error);
  if (!attempt) {
    attempt = create(before, error, outcome);
    if (!attempt)
      return NULL;
    kin_attempt **slot = &outcome->shared[outcome->made++ % KIN_ATTEMPTS_SHARED];
    kin_attempt_release(*slot);
    *slot = attempt;
  }
  return attempt;
}

void kin_attempt_note(kin_attempt_outcome *outcome, kin_record_list *records,
                      const kin_error *error) {
  kin_attempt *attempt = NULL;
  const kin_attempt *before = NULL;
  for (kin_user_record *record = records->first; record; record = record->next) {
    if (!attempt || record->attempts != before) {
      before = record->attempts;
      attempt = find_or_create(outcome, kept_before(record->attempts), error);
    }
    if (!attempt)
      continue;
    atomic_fetch_add(&attempt->references, 1);
    kin_attempt_release(record->attempts);
    record->attempts = attempt;
  }
}

void kin_attempt_outcome_free(kin_attempt_outcome *outcome) {
  for (size_t i = 0; i < KIN_ATTEMPTS_SHARED; i++)
    kin_attempt_release(outcome->shared[i]);
}
