/* put_many: sends one request of kinesis.put_many until each of its records is stored or has
 * failed. Only the entries that failed are sent again: PutRecords answers HTTP 200 when it has
 * refused some of them, and the retries of the SDKs do not cover that. When the service refuses a
 * whole request for the content of one record, the entries are sent in parts (see bisect.h).
 *
 *   sending ──> done       every entry is stored or has a fatal error
 *   sending ──> sending    the next part
 *   sending ──> waiting    an entry has failed and may be sent again
 *   waiting ──> sending    after the back-off
 *   sending ──> done       no attempts, quota or time are left: the others keep their last error
 *
 * https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html */
#ifndef KIN_PRODUCER_PUT_MANY_H
#define KIN_PRODUCER_PUT_MANY_H

#include "base/error.h"
#include "engine/engine.h"
#include "wire/put_records.h"

/* One PutRecordsRequestEntry: its JSON is bytes [start, start + len) of the body. */
typedef struct kin_put_many_entry {
  size_t start, len;
  unsigned attempts;
  unsigned refused;      /* attempts that were refused for the content of a request */
  unsigned unread;       /* attempts that were answered, but not readably */
  uint16_t max_batch;    /* see bisect.h */
  bool rejected;         /* failed for its content: sent alone, it was refused, too */
  bool sent;             /* in the request that is in flight, or was the last */
  bool done;             /* stored, or failed for good */
  kin_error_class class; /* of its last error; KIN_OK: none */
} kin_put_many_entry;

/* At most KIN_PUT_RECORDS_MAX records and KIN_PUT_BYTES_MAX bytes. Created on the Lua thread;
 * belongs to the engine from kin_put_many_start until it comes back as KIN_MESSAGE_PUT_MANY_DONE.
 */
typedef struct kin_put_many {
  kin_message message; /* first */
  kin_buf body;        /* of the first request; moved to its call while that is in flight */
  kin_put_many_entry entries[KIN_PUT_RECORDS_MAX];
  kin_put_result results[KIN_PUT_RECORDS_MAX]; /* slices into the answers */
  const kin_target *target;                    /* NULL: the engine's */
  size_t count;
  size_t bytes; /* of data and partition keys */
  kin_slice encryption_type;
  kin_message_list answers; /* the calls whose answers the results point into */
} kin_put_many;

/* Whether all records of the request failed with an error that other records would meet, too. Large
 * records may fill a request, and each be rejected for its content; that 500 are is the stream's
 * fault. */
bool kin_put_many_is_hopeless(const kin_put_many *request);

/* NULL when memory is out. */
kin_put_many *kin_put_many_create(kin_slice stream);

/* Copies the record. False: the request is full, or (body.failed) memory is out. */
bool kin_put_many_add(kin_put_many *request, const kin_put *put);

/* Hands the request to the engine; it comes back to `owner`. Lua thread. False: the engine is
 * stopped or memory is out, and the request is freed. */
bool kin_put_many_start(kin_engine *engine, kin_put_many *request, uint64_t owner);

#endif
