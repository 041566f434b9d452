/* settle: one chunk of put_many, until each of its records is stored or has its reason. Only the
 * entries that failed are sent again: PutRecords answers HTTP 200 with some refused, and no SDK's
 * retry covers that.
 * https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html */
#ifndef KIN_PRODUCER_PUT_MANY_H
#define KIN_PRODUCER_PUT_MANY_H

#include "engine/engine.h"
#include "wire/put_records.h"

/* One record: its JSON is a run of the chunk's body. */
typedef struct kin_put_many_entry {
  size_t start, len;
  unsigned attempts;
  bool settled;
} kin_put_many_entry;

/* At most KIN_PUT_RECORDS_MAX records and KIN_PUT_BYTES_MAX bytes. Made on the Lua thread, worked
 * on by the engine, and back as KIN_MESSAGE_PUT_MANY_DONE. */
typedef struct kin_put_many {
  kin_message message; /* first */
  kin_buf body; /* of the request for all records; lent to the call while it carries them all */
  kin_put_many_entry entries[KIN_PUT_RECORDS_MAX];
  kin_put_result results[KIN_PUT_RECORDS_MAX]; /* slices into the answers */
  const kin_target *target;                    /* NULL: the engine's */
  size_t count;
  size_t bytes; /* data and partition keys */
  kin_slice encryption_type;
  kin_message_list answers; /* the calls whose answers the results point into */
} kin_put_many;

/* NULL when memory is out. */
kin_put_many *kin_put_many_create(kin_slice stream);

/* Copies. False when the chunk is full (its body has not failed) or memory is out (it has). */
bool kin_put_many_add(kin_put_many *chunk, const kin_put *put);

/* Hands the chunk to the engine; it comes back to `owner`. Lua thread. Takes the chunk, also when
 * it fails: then the engine is stopped or memory is out. */
bool kin_put_many_start(kin_engine *engine, kin_put_many *chunk, uint64_t owner);

#endif
