/* spares: memory of records that are no more, for those to come: made on one thread and freed on
 * the other, it would cost malloc more than anything else here does. The owner locks. */
#ifndef KIN_PRODUCER_SPARES_H
#define KIN_PRODUCER_SPARES_H

#include "producer/record.h"

enum { KIN_SPARE_CLASSES = 16, KIN_SPARES_MAX = 1 << 20 };

typedef struct kin_spares {
  struct kin_spare *first[KIN_SPARE_CLASSES]; /* by size, in KIN_RECORD_STEPs */
  size_t bytes;
} kin_spares;

/* Memory of exactly that size; NULL: there is none. */
void *kin_spares_take(kin_spares *spares, size_t size);

/* Takes the record's memory if true; else there is enough. */
bool kin_spares_keep(kin_spares *spares, kin_user_record *record, size_t size);

void kin_spares_free(kin_spares *spares);

#endif
