#include "wire/put_records.h"

#include "base/text.h"
#include "wire/base64.h"
#include "wire/json.h"

void kin_stream_add(kin_buf *out, kin_slice stream) {
  bool arn = stream.len > 4 && memcmp(stream.at, "arn:", 4) == 0;
  kin_json_add_name(out, arn ? "StreamARN" : "StreamName");
  kin_json_add_string(out, stream);
}

static void add_members(kin_buf *out, const kin_put *put) {
  kin_buf_add_text(out, "\"Data\":\"");
  kin_base64_add(out, put->data);
  kin_buf_add_text(out, "\",\"PartitionKey\":");
  kin_json_add_string(out, put->partition_key);
  if (put->explicit_hash_key.len > 0) {
    kin_buf_add_text(out, ",\"ExplicitHashKey\":");
    kin_json_add_string(out, put->explicit_hash_key);
  }
}

void kin_put_record_build(kin_buf *out, kin_slice stream, const kin_put *put, kin_slice after) {
  kin_buf_add(out, "{", 1);
  kin_stream_add(out, stream);
  kin_buf_add(out, ",", 1);
  add_members(out, put);
  if (after.len > 0) {
    kin_json_add_name(out, "SequenceNumberForOrdering");
    kin_json_add_string(out, after);
  }
  kin_buf_add(out, "}", 1);
}

void kin_put_records_open(kin_buf *out, kin_slice stream) {
  kin_buf_add(out, "{", 1);
  kin_stream_add(out, stream);
  kin_json_add_name(out, "Records");
  kin_buf_add(out, "[", 1);
}

void kin_put_records_next(kin_buf *out) {
  if (out->len > 0 && out->at[out->len - 1] == '}')
    kin_buf_add(out, ",", 1);
}

void kin_put_records_add(kin_buf *out, const kin_put *put) {
  kin_buf_add(out, "{", 1);
  add_members(out, put);
  kin_buf_add(out, "}", 1);
}

void kin_put_records_close(kin_buf *out) {
  kin_buf_add(out, "]}", 2);
}

/* Reads a text for a message; the JSON is decoded in place, and so is the text cleaned. */
static void read_text(kin_json *json, kin_slice *text) {
  if (kin_json_string_or_null(json, text) && text->len > 0)
    text->len = kin_text_clean((char *)(uintptr_t)text->at, text->len);
}

/* Reads one member of a result, or of a response of PutRecord, which has the same members. */
static void read_member(kin_json *json, kin_slice key, kin_put_result *result) {
  if (kin_slice_is(key, "ShardId"))
    kin_json_string_or_null(json, &result->shard_id);
  else if (kin_slice_is(key, "SequenceNumber"))
    kin_json_string_or_null(json, &result->sequence_number);
  else if (kin_slice_is(key, "ErrorCode"))
    read_text(json, &result->code);
  else if (kin_slice_is(key, "ErrorMessage"))
    read_text(json, &result->message);
  else
    kin_json_skip(json);
}

static bool complete(const kin_put_result *result) {
  return result->code.len > 0 || (result->shard_id.len > 0 && result->sequence_number.len > 0);
}

bool kin_put_record_read(char *text, size_t len, kin_put_result *result, kin_slice *encryption) {
  kin_json json;
  kin_slice key;
  *result = (kin_put_result){0};
  *encryption = (kin_slice){0};
  kin_json_init(&json, text, len);
  if (!kin_json_object(&json))
    return false;
  while (kin_json_key(&json, &key)) {
    if (kin_slice_is(key, "EncryptionType"))
      kin_json_string_or_null(&json, encryption);
    else
      read_member(&json, key, result);
  }
  return kin_json_done(&json) && complete(result) && result->code.len == 0;
}

static size_t read_results(kin_json *json, kin_put_result *results, size_t count) {
  size_t found = 0;
  kin_slice key;
  if (!kin_json_array(json))
    return 0;
  while (kin_json_item(json)) {
    kin_put_result result = {0};
    if (!kin_json_object(json))
      return 0;
    while (kin_json_key(json, &key))
      read_member(json, key, &result);
    if (found == count || !complete(&result))
      return 0;
    results[found++] = result;
  }
  return found;
}

bool kin_put_records_read(char *text, size_t len, kin_put_result *results, size_t count,
                          kin_slice *encryption) {
  kin_json json;
  kin_slice key;
  size_t found = 0;
  *encryption = (kin_slice){0};
  kin_json_init(&json, text, len);
  if (!kin_json_object(&json))
    return false;
  while (kin_json_key(&json, &key)) {
    if (kin_slice_is(key, "Records")) {
      found = read_results(&json, results, count);
      if (found != count)
        return false;
    } else if (kin_slice_is(key, "EncryptionType")) {
      kin_json_string_or_null(&json, encryption);
    } else {
      kin_json_skip(&json);
    }
  }
  return kin_json_done(&json) && found == count;
}
