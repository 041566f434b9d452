/* record_pool: keeps the memory of freed records for new ones. Records are allocated on one thread
 * and freed on the other, which is expensive for malloc. The owner locks. */
#ifndef KIN_PRODUCER_RECORD_POOL_H
#define KIN_PRODUCER_RECORD_POOL_H

#include "producer/record.h"

enum { KIN_RECORD_POOL_CLASSES = 16, KIN_RECORD_POOL_MAX = 1 << 20 }; /* MAX: bytes */

typedef struct kin_record_pool {
  struct kin_pooled *first[KIN_RECORD_POOL_CLASSES]; /* by size, in KIN_RECORD_STEPs */
  size_t bytes;
} kin_record_pool;

/* Memory of exactly that size, or NULL. */
void *kin_record_pool_take(kin_record_pool *pool, size_t size);

/* True: the pool owns the record's memory now. False: the caller frees the record. */
bool kin_record_pool_keep(kin_record_pool *pool, kin_user_record *record, size_t size);

void kin_record_pool_free(kin_record_pool *pool);

#endif
