/* shardlist: what a producer has to know of a stream: its open shards, and how it is set up.
 * https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListShards.html
 * https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DescribeStreamSummary.html */
#ifndef KIN_WIRE_LIST_SHARDS_H
#define KIN_WIRE_LIST_SHARDS_H

#include "wire/hashkey.h"

/* A shard that takes records. */
typedef struct kin_shard_range {
  kin_slice id;
  kin_hash first, last;
} kin_shard_range;

/* ListShards: with a token, the service refuses to be told the stream again. */
void kin_list_shards_build(kin_buf *out, kin_slice stream, kin_slice next_token);

/* Hands over each open shard: one that has no ending sequence number. `each` may say false to end
 * it. False: the text is wrong, or `each` said so. The slices lie inside the text. */
bool kin_list_shards_read(char *text, size_t len,
                          bool (*each)(void *context, const kin_shard_range *shard), void *context,
                          kin_slice *next_token);

enum { KIN_STREAM_RECORD_MAX = 1 << 20 }; /* bytes of data and key, of a stream that says nothing */

typedef struct kin_stream_summary {
  bool service_managed; /* RecordDistributionStrategy AUTO: keys do not pick the shard */
  size_t max_record_size;
  size_t open_shards; /* 0 where the service does not say */
} kin_stream_summary;

void kin_stream_summary_build(kin_buf *out, kin_slice stream);

/* False: the text is wrong. */
bool kin_stream_summary_read(char *text, size_t len, kin_stream_summary *summary);

#endif
