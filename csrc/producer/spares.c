#include "producer/spares.h"

#include <stdlib.h>

typedef struct kin_spare {
  struct kin_spare *next;
} spare;

static spare **class_of(kin_spares *spares, size_t size) {
  size_t class = size / KIN_RECORD_STEP;
  return class < KIN_SPARE_CLASSES ? &spares->first[class] : NULL;
}

void *kin_spares_take(kin_spares *spares, size_t size) {
  spare **first = class_of(spares, size);
  spare *taken = first ? *first : NULL;
  if (!taken)
    return NULL;
  *first = taken->next;
  spares->bytes -= size;
  return taken;
}

bool kin_spares_keep(kin_spares *spares, kin_user_record *record, size_t size) {
  spare **first = class_of(spares, size);
#ifdef __SANITIZE_ADDRESS__
  first = NULL; /* so that who uses a record too late is found out */
#endif
  if (!first || record->attempts || spares->bytes + size > KIN_SPARES_MAX)
    return false;
  spare *kept = (spare *)record;
  kept->next = *first;
  *first = kept;
  spares->bytes += size;
  return true;
}

void kin_spares_free(kin_spares *spares) {
  for (size_t i = 0; i < KIN_SPARE_CLASSES; i++) {
    for (spare *kept; (kept = spares->first[i]);) {
      spares->first[i] = kept->next;
      free(kept);
    }
  }
}
