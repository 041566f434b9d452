/* get_records: bodies and responses of GetShardIterator and GetRecords. A page is read once and
 * decoded in place. Any thread; no state.
 * https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html */
#ifndef KIN_WIRE_GET_RECORDS_H
#define KIN_WIRE_GET_RECORDS_H

#include "base/bytes.h"
#include "wire/hashkey.h"
#include "wire/limits.h"

enum { KIN_PAGE_CHILDREN_MAX = 64 }; /* the service names two at most today */

typedef struct kin_record {
  kin_slice data;
  kin_slice partition_key; /* .at NULL: absent, as in service-managed streams */
  kin_slice sequence_number;
  kin_slice encryption_type; /* empty: absent */
  double arrival_timestamp;  /* seconds since 1970 */
} kin_record;

typedef struct kin_child_shard {
  kin_slice id;
  kin_slice parents[2];
  int parent_count;
  bool has_range; /* of hash keys */
  kin_hash_range range;
} kin_child_shard;

/* All slices point into `body`. A source fills the page; reader.c moves it into a message for Lua,
 * or frees it when it has no records. */
typedef struct kin_page {
  kin_buf body;        /* owned */
  kin_record *records; /* owned */
  size_t record_count;
  kin_slice next_iterator;   /* empty: there is none; then the shard is probably closed */
  double millis_behind;      /* negative: not in the response */
  bool has_children;         /* the response has a list of child shards, perhaps an empty one */
  kin_child_shard *children; /* owned */
  size_t child_count;
} kin_page;

/* The start position in a shard. */
typedef enum {
  KIN_FROM_TRIM_HORIZON,
  KIN_FROM_LATEST,
  KIN_FROM_TIMESTAMP,
  KIN_FROM_AT,
  KIN_FROM_AFTER,
} kin_from_kind;

void kin_get_shard_iterator_build(kin_buf *out, kin_slice stream, kin_slice shard_id,
                                  kin_from_kind from, kin_slice sequence_number, double timestamp);
/* The iterator points into the text. */
bool kin_get_shard_iterator_read(char *text, size_t len, kin_slice *iterator);

/* Only an ARN is sent: the operation has no StreamName, the iterator names the stream. `limit`:
 * most records, up to KIN_PAGE_RECORDS_MAX; 0: as many as the service gives. */
void kin_get_records_build(kin_buf *out, kin_slice stream, kin_slice iterator, unsigned limit);

/* Takes the bytes of `body` in any case, and leaves it empty. False: not such an answer, or
 * *out_of_memory; then the page is empty. */
bool kin_get_records_read(kin_page *page, kin_buf *body, bool *out_of_memory);
void kin_page_free(kin_page *page);

#endif
