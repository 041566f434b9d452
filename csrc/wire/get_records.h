/* getrecords: GetShardIterator and GetRecords. A page is read once, and decoded where it lies.
 * https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html */
#ifndef KIN_WIRE_GET_RECORDS_H
#define KIN_WIRE_GET_RECORDS_H

#include "base/bytes.h"

enum {
  KIN_PAGE_RECORDS_MAX = 10000, /* what GetRecords gives at most */
  KIN_PAGE_CHILDREN_MAX = 64,   /* it names two; room for a service that changes its mind */
};

typedef struct kin_record {
  kin_slice data;
  kin_slice partition_key; /* .at NULL: absent, as on streams that distribute by themselves */
  kin_slice sequence_number;
  kin_slice encryption_type; /* empty when none was told */
  double arrival_timestamp;  /* seconds since 1970 */
} kin_record;

typedef struct kin_child_shard {
  kin_slice id;
  kin_slice parents[2];
  int parent_count;
} kin_child_shard;

/* All slices lie inside `body`. */
typedef struct kin_page {
  kin_buf body;        /* owned */
  kin_record *records; /* owned */
  size_t record_count;
  kin_slice next_iterator; /* empty: the shard is closed and read to its end */
  double millis_behind;
  bool has_children;         /* the answer named the shard's children (none, perhaps) */
  kin_child_shard *children; /* owned */
  size_t child_count;
} kin_page;

/* Where in a shard to begin. */
typedef enum {
  KIN_FROM_TRIM_HORIZON,
  KIN_FROM_LATEST,
  KIN_FROM_TIMESTAMP,
  KIN_FROM_AT,
  KIN_FROM_AFTER,
} kin_from_kind;

void kin_get_shard_iterator_build(kin_buf *out, kin_slice stream, kin_slice shard_id,
                                  kin_from_kind from, kin_slice sequence_number, double timestamp);
/* The iterator, inside the text. */
bool kin_get_shard_iterator_read(char *text, size_t len, kin_slice *iterator);

/* The stream is told only when it is an ARN: the iterator names it otherwise. */
void kin_get_records_build(kin_buf *out, kin_slice stream, kin_slice iterator);

/* Takes the bytes of `body`, whether it succeeds or not (and leaves it empty). On false the page is
 * empty and `*memory` says whether memory was out. */
bool kin_get_records_read(kin_page *page, kin_buf *body, bool *memory);
void kin_page_free(kin_page *page);

#endif
