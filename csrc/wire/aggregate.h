/* aggregate: many user records in one, in the format of the Kinesis Producer Library: a magic
 * number, a protobuf message, and the message's MD5.
 * https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md */
#ifndef KIN_WIRE_AGGREGATE_H
#define KIN_WIRE_AGGREGATE_H

#include "wire/hashkey.h"
#include "wire/put_records.h"

/* ---- writing ---- */

/* The parts of the message, which is written once all records are known: keys stand in front of
 * them, each key once. Its memory is kept for the next one. */
typedef struct kin_aggregate {
  kin_buf keys;      /* partition_key_table, as fields of the message */
  kin_buf hash_keys; /* explicit_hash_key_table */
  kin_buf records;
  struct kin_key_table *key_table, *hash_key_table; /* which keys there are, by what they hash to */
  size_t count;
  bool failed; /* memory is out, or it would exceed its maximum; sticks until it is cleared */
} kin_aggregate;

/* `max` bounds each part, in bytes. */
void kin_aggregate_init(kin_aggregate *aggregate, size_t max);
void kin_aggregate_free(kin_aggregate *aggregate);
void kin_aggregate_clear(kin_aggregate *aggregate);

/* Copies. */
void kin_aggregate_add(kin_aggregate *aggregate, const kin_put *put);

/* The most bytes that one more record makes of the finished aggregate. */
size_t kin_aggregate_growth(const kin_put *put);

enum { KIN_AGGREGATE_FRAME = 20 }; /* bytes of magic and digest */

/* Appends the finished aggregate. False: it or `out` has failed, or OpenSSL did. */
bool kin_aggregate_write(const kin_aggregate *aggregate, kin_md5 *md5, kin_buf *out);

/* ---- reading ---- */

typedef struct kin_aggregate_reader {
  kin_slice message; /* what is left of it, for `next` */
  kin_slice *keys, *hash_keys;
  size_t key_count, hash_key_count;
  size_t count; /* of records */
} kin_aggregate_reader;

/* Looks through all of it, so that `next` cannot meet anything wrong. False: it is no aggregate
 * (then `*memory` is true), or memory is out (false). The reader lives as long as the bytes. */
bool kin_aggregate_open(kin_aggregate_reader *reader, kin_md5 *md5, kin_slice bytes, bool *memory);
void kin_aggregate_close(kin_aggregate_reader *reader);

/* The next record, whose slices lie in the bytes. False: that was the last. */
bool kin_aggregate_next(kin_aggregate_reader *reader, kin_put *record);

#endif
