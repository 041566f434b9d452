#include "wire/list_shards.h"

#include "wire/json.h"
#include "wire/put_records.h"

void kin_list_shards_build(kin_buf *out, kin_slice stream, kin_slice next_token) {
  kin_buf_add(out, "{", 1);
  if (next_token.len > 0) {
    kin_json_add_name(out, "NextToken");
    kin_json_add_string(out, next_token);
  } else {
    kin_stream_add(out, stream);
    kin_buf_add_text(out, ",\"ShardFilter\":{\"Type\":\"AT_LATEST\"}");
  }
  kin_buf_add(out, "}", 1);
}

static void read_range(kin_json *json, kin_shard_range *shard, bool *complete) {
  kin_slice key, first = {0}, last = {0};
  if (!kin_json_object(json))
    return;
  while (kin_json_key(json, &key)) {
    if (kin_slice_is(key, "StartingHashKey"))
      kin_json_string(json, &first);
    else if (kin_slice_is(key, "EndingHashKey"))
      kin_json_string(json, &last);
    else
      kin_json_skip(json);
  }
  *complete = kin_hash_parse(first, &shard->first) && kin_hash_parse(last, &shard->last) &&
              kin_hash_compare(shard->first, shard->last) <= 0;
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

static bool read_shard(kin_json *json, kin_shard_range *shard, bool *closed) {
  kin_slice key;
  bool complete = false;
  *shard = (kin_shard_range){0};
  *closed = false;
  if (!kin_json_object(json))
    return false;
  while (kin_json_key(json, &key)) {
    if (kin_slice_is(key, "ShardId"))
      kin_json_string(json, &shard->id);
    else if (kin_slice_is(key, "HashKeyRange"))
      read_range(json, shard, &complete);
    else if (kin_slice_is(key, "SequenceNumberRange"))
      *closed = read_closed(json);
    else
      kin_json_skip(json);
  }
  return !json->bad && complete && shard->id.len > 0;
}

bool kin_list_shards_read(char *text, size_t len,
                          bool (*each)(void *context, const kin_shard_range *shard), void *context,
                          kin_slice *next_token) {
  kin_json json;
  kin_slice key;
  kin_shard_range shard;
  bool closed, listed = false;
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
        if (!read_shard(&json, &shard, &closed) || (!closed && !each(context, &shard)))
          return false;
    } else {
      kin_json_skip(&json);
    }
  }
  return kin_json_done(&json) && listed;
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
