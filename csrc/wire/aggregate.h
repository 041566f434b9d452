/* aggregate: many user records in one record, in the format of the Kinesis Producer Library: a
 * magic number, a protobuf message and the message's MD5. A writer or reader belongs to one thread.
 * https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md */
#ifndef KIN_WIRE_AGGREGATE_H
#define KIN_WIRE_AGGREGATE_H

#include "wire/hashkey.h"
#include "wire/put_records.h"

/* ---- writing ---- */

/* The parts of the message. The message is written when all records are known, because the tables
 * of keys come first. The memory is kept for the next aggregate. */
typedef struct kin_aggregate {
  kin_buf keys;      /* partition_key_table, as fields of the message */
  kin_buf hash_keys; /* explicit_hash_key_table */
  kin_buf records;
  struct kin_key_table *key_table, *hash_key_table; /* hash tables of the keys */
  size_t count;
  bool failed; /* out of memory, or beyond the maximum; until it is cleared */
} kin_aggregate;

/* `max` bounds each part, in bytes. */
void kin_aggregate_init(kin_aggregate *aggregate, size_t max);
void kin_aggregate_free(kin_aggregate *aggregate);
void kin_aggregate_clear(kin_aggregate *aggregate);

/* Copies the record. */
void kin_aggregate_add(kin_aggregate *aggregate, const kin_put *put);

/* An upper bound on the bytes that one more record adds to the finished aggregate. */
size_t kin_aggregate_growth(const kin_put *put);

enum { KIN_AGGREGATE_FRAME = 20 }; /* bytes of magic and digest */

/* Appends the finished aggregate. False: the aggregate, `out` or OpenSSL has failed. */
bool kin_aggregate_write(const kin_aggregate *aggregate, kin_md5 *md5, kin_buf *out);

/* ---- reading ---- */

typedef struct kin_aggregate_reader {
  kin_slice message;          /* the part that is not read yet */
  const char *start;          /* of the whole message */
  uint32_t *keys, *hash_keys; /* where they are in the message, and two bits about their place: four
                               * bytes a key, because there may be one for each two bytes of the
                               * message */
  size_t key_count, hash_key_count;
  size_t count;         /* of records */
  size_t key, hash_key; /* the indices of those of the record that `next` has read last */
} kin_aggregate_reader;

/* Checks the whole aggregate, so `next` cannot find an error. False: not an aggregate, or
 * *out_of_memory; then the reader is empty. The bytes must outlive the reader. */
bool kin_aggregate_open(kin_aggregate_reader *reader, kin_md5 *md5, kin_slice bytes,
                        bool *out_of_memory);
void kin_aggregate_close(kin_aggregate_reader *reader);

/* Reads the next record; its slices point into the bytes. False: there are no more. */
bool kin_aggregate_next(kin_aggregate_reader *reader, kin_put *record);

/* Whether the hash key of `record`, which `next` has read last, lies outside the range. That is the
 * same for all records until the reader is closed, so that each key is hashed once. A hash key that
 * is no number below 2^128 is outside no range. */
bool kin_aggregate_is_outside(kin_aggregate_reader *reader, const kin_put *record, kin_md5 *md5,
                              const kin_hash_range *range);

#endif
