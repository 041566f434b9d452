/* list_shards: bodies and responses of ListShards and DescribeStreamSummary, from which a producer
 * takes a stream's open shards and settings, and a reader all shards. Any thread; what is known of
 * a list between its pages is the caller's.
 * https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListShards.html
 * https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DescribeStreamSummary.html */
#ifndef KIN_WIRE_LIST_SHARDS_H
#define KIN_WIRE_LIST_SHARDS_H

#include <stdint.h>

#include "wire/hashkey.h"
#include "wire/json.h"

/* A shard, open or closed. */
typedef struct kin_listed_shard {
  kin_slice id;
  kin_hash_range range;
  kin_slice parents[2]; /* empty: none */
  bool closed;          /* it has an ending sequence number */
} kin_listed_shard;

/* Reads a HashKeyRange, or skips another value. False: it is not one; then `range` is undefined. */
bool kin_hash_range_read(kin_json *json, kin_hash_range *range);

/* ListShards of the open shards, or of all. With a token the stream is left out, because the
 * service refuses both. */
void kin_list_shards_build(kin_buf *out, kin_slice stream, kin_slice next_token);
void kin_list_all_shards_build(kin_buf *out, kin_slice stream, kin_slice next_token);

/* Calls `each` for every shard. False: the text is malformed, or `each` returned false. The slices
 * point into the text. */
bool kin_list_all_shards_read(char *text, size_t len,
                              bool (*each)(void *context, const kin_listed_shard *shard),
                              void *context, kin_slice *next_token);

/* What is known of the pages of one list, zeroed at its beginning: no list is followed for ever. */
enum { KIN_LIST_TOKENS = 64, KIN_LIST_BARREN_MAX = 50 };
typedef struct kin_list_pages {
  unsigned count;                   /* pages that had a token */
  unsigned barren;                  /* the last ones that had no shard that was not listed before */
  uint64_t tokens[KIN_LIST_TOKENS]; /* hashes of the last tokens */
} kin_list_pages;

/* A page has named `fresh` shards that were not listed before, and a token. False: the list has no
 * end: the token was given before, or too many pages have brought nothing. */
bool kin_list_pages_go_on(kin_list_pages *pages, kin_slice token, size_t fresh);

/* The shards of one list, by the hashes of their ids; zeroed at first. */
typedef struct kin_listed_ids {
  uint64_t *hashes; /* 0: free */
  size_t count, capacity;
} kin_listed_ids;

/* The shard was not listed before. False also when memory is out, which sets `failed`. */
bool kin_listed_ids_add(kin_listed_ids *ids, kin_slice id, bool *failed);

/* Forgets all, for the next list. */
void kin_listed_ids_free(kin_listed_ids *ids);

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
