/* progress: what Lua may ask about a reader at any time: whether it is behind, failing, or idle,
 * and since when. The reader (engine thread) writes it, Lua's side reads it; counted: the last
 * reference out frees it. */
#ifndef KIN_CONSUMER_PROGRESS_H
#define KIN_CONSUMER_PROGRESS_H

#include <stdbool.h>

#include "base/clock.h"

typedef struct kin_progress kin_progress;

typedef enum {
  KIN_PROGRESS_BEHIND,  /* a shard has more records, or its first page has not come */
  KIN_PROGRESS_FAILING, /* none is behind, as far as is known; the last call of one has failed */
  KIN_PROGRESS_IDLE,    /* all that are read are at their tip, and none is paused */
  KIN_PROGRESS_PAUSED,  /* what is left to read is paused, or waits for a shard that is */
} kin_progress_kind;

/* Behind. NULL when memory is out. */
kin_progress *kin_progress_create(void);
kin_progress *kin_progress_hold(kin_progress *progress);
void kin_progress_release(kin_progress *progress);

/* Keeps the time of the last change. Returns whether it is one. */
bool kin_progress_set(kin_progress *progress, kin_progress_kind kind, kin_time now);
kin_progress_kind kin_progress_get(kin_progress *progress, kin_time *since);

#endif
