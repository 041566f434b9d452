#include "producer/record_pool.h"

#include <stdlib.h>

/* Overlays the record. */
typedef struct kin_pooled {
  struct kin_pooled *next;
} pooled;

static pooled **class_of(kin_record_pool *pool, size_t size) {
  size_t class = size / KIN_RECORD_STEP;
  return class < KIN_RECORD_POOL_CLASSES ? &pool->first[class] : NULL;
}

void *kin_record_pool_take(kin_record_pool *pool, size_t size) {
  pooled **first = class_of(pool, size);
  pooled *taken = first ? *first : NULL;
  if (!taken)
    return NULL;
  *first = taken->next;
  pool->bytes -= size;
  return taken;
}

bool kin_record_pool_keep(kin_record_pool *pool, kin_user_record *record, size_t size) {
  pooled **first = class_of(pool, size);
#ifdef __SANITIZE_ADDRESS__
  first = NULL; /* so that a use after free is detected */
#endif
  if (!first || record->attempts || pool->bytes + size > KIN_RECORD_POOL_MAX)
    return false;
  pooled *kept = (pooled *)record;
  kept->next = *first;
  *first = kept;
  pool->bytes += size;
  return true;
}

void kin_record_pool_free(kin_record_pool *pool) {
  for (size_t i = 0; i < KIN_RECORD_POOL_CLASSES; i++) {
    for (pooled *kept; (kept = pool->first[i]);) {
      pool->first[i] = kept->next;
      free(kept);
    }
  }
}
