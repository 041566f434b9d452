/* list_shards: bodies and responses of ListShards and DescribeStreamSummary, from which a producer
 * takes a stream's open shards and settings. Any thread; no state.
 * https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListShards.html
 * https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DescribeStreamSummary.html */
#ifndef KIN_WIRE_LIST_SHARDS_H
#define KIN_WIRE_LIST_SHARDS_H

#include "wire/hashkey.h"

/* An open shard. */
typedef struct kin_shard_range {
  kin_slice id;
  kin_hash first, last;
} kin_shard_range;

/* ListShards. With a token the stream is left out, because the service refuses both. */
void kin_list_shards_build(kin_buf *out, kin_slice stream, kin_slice next_token);

/* Calls `each` for every open shard: one without an ending sequence number. False: the text is
 * malformed, or `each` returned false. The slices point into the text. */
bool kin_list_shards_read(char *text, size_t len,
                          bool (*each)(void *context, const kin_shard_range *shard), void *context,
                          kin_slice *next_token);

enum { KIN_STREAM_RECORD_MAX = 1 << 20 }; /* default bytes of data and key of a stream's record */

typedef struct kin_stream_summary {
  bool service_managed; /* RecordDistributionStrategy AUTO: keys do not determine the shard */
  size_t max_record_size;
  size_t open_shards; /* 0: not in the response */
} kin_stream_summary;

void kin_stream_summary_build(kin_buf *out, kin_slice stream);

/* False: the text is malformed. */
bool kin_stream_summary_read(char *text, size_t len, kin_stream_summary *summary);

#endif
