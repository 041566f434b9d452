#include "wire/list_shards.h"

#include <stdlib.h>

#include "wire/put_records.h"

static void build(kin_buf *out, kin_slice stream, kin_slice next_token, const char *filter) {
  kin_buf_add(out, "{", 1);
  if (next_token.len > 0) {
    kin_json_add_name(out, "NextToken");
    kin_json_add_string(out, next_token);
  } else {
    kin_stream_add(out, stream);
    kin_buf_add_text(out, filter);
  }
  kin_buf_add(out, "}", 1);
}

void kin_list_shards_build(kin_buf *out, kin_slice stream, kin_slice next_token) {
  build(out, stream, next_token, ",\"ShardFilter\":{\"Type\":\"AT_LATEST\"}");
}

void kin_list_all_shards_build(kin_buf *out, kin_slice stream, kin_slice next_token) {
  build(out, stream, next_token, "");
}

bool kin_hash_range_read(kin_json *json, kin_hash_range *range) {
  kin_slice key, first = {0}, last = {0};
  if (kin_json_peek(json) != KIN_JSON_OBJECT) {
    kin_json_skip(json);
    return false;
  }
  kin_json_object(json);
  while (kin_json_key(json, &key)) {
    bool text = kin_json_peek(json) == KIN_JSON_STRING;
    if (text && kin_slice_is(key, "StartingHashKey"))
      kin_json_string(json, &first);
    else if (text && kin_slice_is(key, "EndingHashKey"))
      kin_json_string(json, &last);
    else
      kin_json_skip(json);
  }
  return kin_hash_range_parse(first, last, range);
}

/* Whether the range has an ending sequence number. */
static bool read_closed(kin_json *json) {
  kin_slice key, ending = {0};
  if (!kin_json_object(json))
    return false;
  while (kin_json_key(json, &key)) {
    if (kin_slice_is(key, "EndingSequenceNumber"))
      kin_json_string_or_null(json, &ending);
    else
      kin_json_skip(json);
  }
  return ending.len > 0;
}

static bool read_shard(kin_json *json, kin_listed_shard *shard) {
  kin_slice key;
  bool complete = false;
  *shard = (kin_listed_shard){0};
  if (!kin_json_object(json))
    return false;
  while (kin_json_key(json, &key)) {
    if (kin_slice_is(key, "ShardId"))
      kin_json_string(json, &shard->id);
    else if (kin_slice_is(key, "ParentShardId"))
      kin_json_string_or_null(json, &shard->parents[0]);
    else if (kin_slice_is(key, "AdjacentParentShardId"))
      kin_json_string_or_null(json, &shard->parents[1]);
    else if (kin_slice_is(key, "HashKeyRange"))
      complete = kin_hash_range_read(json, &shard->range);
    else if (kin_slice_is(key, "SequenceNumberRange"))
      shard->closed = read_closed(json);
    else
      kin_json_skip(json);
  }
  return !json->bad && complete && shard->id.len > 0;
}

bool kin_list_all_shards_read(char *text, size_t len,
                              bool (*each)(void *context, const kin_listed_shard *shard),
                              void *context, kin_slice *next_token) {
  kin_json json;
  kin_slice key;
  kin_listed_shard shard;
  bool listed = false;
  *next_token = (kin_slice){0};
  kin_json_init(&json, text, len);
  if (!kin_json_object(&json))
    return false;
  while (kin_json_key(&json, &key)) {
    if (kin_slice_is(key, "NextToken")) {
      kin_json_string_or_null(&json, next_token);
    } else if (kin_slice_is(key, "Shards") && kin_json_array(&json)) {
      listed = true;
      while (kin_json_item(&json))
        if (!read_shard(&json, &shard) || !each(context, &shard))
          return false;
    } else {
      kin_json_skip(&json);
    }
  }
  return kin_json_done(&json) && listed;
}

bool kin_list_pages_go_on(kin_list_pages *pages, kin_slice token, size_t fresh) {
  uint64_t hash = kin_slice_hash(token);
  pages->barren = fresh > 0 ? 0 : pages->barren + 1;
  for (unsigned i = 0; i < KIN_LIST_TOKENS && i < pages->count; i++)
    if (pages->tokens[i] == hash)
      return false;
  pages->tokens[pages->count++ % KIN_LIST_TOKENS] = hash;
  return pages->barren < KIN_LIST_BARREN_MAX;
}

/* Where the hash is, or a free place. */
static uint64_t *find_hash(const kin_listed_ids *ids, uint64_t hash) {
  size_t at = hash & (ids->capacity - 1);
  while (ids->hashes[at] != 0 && ids->hashes[at] != hash)
    at = (at + 1) & (ids->capacity - 1);
  return &ids->hashes[at];
}

/* False: memory is out. */
static bool grow(kin_listed_ids *ids) {
  kin_listed_ids bigger = {.count = ids->count, .capacity = ids->capacity ? 2 * ids->capacity : 64};
  bigger.hashes = calloc(bigger.capacity, sizeof *bigger.hashes);
  if (!bigger.hashes)
    return false;
  for (size_t i = 0; i < ids->capacity; i++)
    if (ids->hashes[i] != 0)
      *find_hash(&bigger, ids->hashes[i]) = ids->hashes[i];
  free(ids->hashes);
  *ids = bigger;
  return true;
}

bool kin_listed_ids_add(kin_listed_ids *ids, kin_slice id, bool *failed) {
  uint64_t hash = kin_slice_hash(id);
  hash = hash != 0 ? hash : 1;
  if (2 * ids->count >= ids->capacity && !grow(ids)) {
    *failed = true;
    return false;
  }
  uint64_t *place = find_hash(ids, hash);
  bool fresh = *place == 0;
  *place = hash;
  ids->count += fresh;
  return fresh;
}

void kin_listed_ids_free(kin_listed_ids *ids) {
  free(ids->hashes);
  *ids = (kin_listed_ids){0};
}

void kin_stream_summary_build(kin_buf *out, kin_slice stream) {
  kin_buf_add(out, "{", 1);
  kin_stream_add(out, stream);
  kin_buf_add(out, "}", 1);
}

static size_t clamp(double kib) {
  double bytes = kib * 1024;
  return bytes <= KIN_STREAM_RECORD_MAX ? KIN_STREAM_RECORD_MAX
         : bytes >= KIN_RECORD_DATA_MAX ? KIN_RECORD_DATA_MAX
                                        : (size_t)bytes;
}

static void read_description(kin_json *json, kin_stream_summary *summary) {
  kin_slice key, strategy = {0};
  double number = 0;
  if (!kin_json_object(json))
    return;
  while (kin_json_key(json, &key)) {
    if (kin_slice_is(key, "RecordDistributionStrategy")) {
      kin_json_string_or_null(json, &strategy);
      summary->service_managed = kin_slice_is(strategy, "AUTO");
    } else if (kin_slice_is(key, "MaxRecordSizeInKiB") && kin_json_peek(json) == KIN_JSON_NUMBER) {
      kin_json_number(json, &number);
      summary->max_record_size = clamp(number);
    } else if (kin_slice_is(key, "OpenShardCount") && kin_json_peek(json) == KIN_JSON_NUMBER) {
      kin_json_number(json, &number);
      summary->open_shards = number > 0 && number < 1e9 ? (size_t)number : 0;
    } else {
      kin_json_skip(json);
    }
  }
}

bool kin_stream_summary_read(char *text, size_t len, kin_stream_summary *summary) {
  kin_json json;
  kin_slice key;
  bool described = false;
  *summary = (kin_stream_summary){.max_record_size = KIN_STREAM_RECORD_MAX};
  kin_json_init(&json, text, len);
  if (!kin_json_object(&json))
    return false;
  while (kin_json_key(&json, &key)) {
    if (kin_slice_is(key, "StreamDescriptionSummary")) {
      read_description(&json, summary);
      described = true;
    } else {
      kin_json_skip(&json);
    }
  }
  return kin_json_done(&json) && described;
}
