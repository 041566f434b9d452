/* put_records: bodies and responses of PutRecord and PutRecords. Any thread; no state.
 * https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html */
#ifndef KIN_WIRE_PUT_RECORDS_H
#define KIN_WIRE_PUT_RECORDS_H

#include "base/bytes.h"
#include "wire/limits.h"

typedef struct kin_put {
  kin_slice data;
  kin_slice partition_key;
  kin_slice explicit_hash_key; /* empty: the partition key determines the hash key */
} kin_put;

/* The result of one record: shard and sequence number, or an error code. */
typedef struct kin_put_result {
  kin_slice shard_id;
  kin_slice sequence_number;
  kin_slice code;
  kin_slice message;
} kin_put_result;

/* Appends `"StreamName":"x"` or `"StreamARN":"arn:…"`. */
void kin_stream_add(kin_buf *out, kin_slice stream);

/* `after` is SequenceNumberForOrdering, or empty. */
void kin_put_record_build(kin_buf *out, kin_slice stream, const kin_put *put, kin_slice after);
bool kin_put_record_read(char *text, size_t len, kin_put_result *result, kin_slice *encryption);

void kin_put_records_open(kin_buf *out, kin_slice stream);
void kin_put_records_next(kin_buf *out); /* appends a comma after a record */
void kin_put_records_add(kin_buf *out, const kin_put *put);
void kin_put_records_close(kin_buf *out);

/* Fills `results`, in the order of the request. False: the text is malformed or does not hold
 * exactly `count` results. The slices point into the text. */
bool kin_put_records_read(char *text, size_t len, kin_put_result *results, size_t count,
                          kin_slice *encryption);

#endif
