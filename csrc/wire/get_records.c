#include "wire/get_records.h"

#include <stdio.h>
#include <stdlib.h>

#include "wire/base64.h"
#include "wire/list_shards.h"
#include "wire/put_records.h"

void kin_get_shard_iterator_build(kin_buf *out, kin_slice stream, kin_slice shard_id,
                                  kin_from_kind from, kin_slice sequence_number, double timestamp) {
  static const char *const types[] = {
      [KIN_FROM_TRIM_HORIZON] = "TRIM_HORIZON",   [KIN_FROM_LATEST] = "LATEST",
      [KIN_FROM_TIMESTAMP] = "AT_TIMESTAMP",      [KIN_FROM_AT] = "AT_SEQUENCE_NUMBER",
      [KIN_FROM_AFTER] = "AFTER_SEQUENCE_NUMBER",
  };
  kin_buf_add(out, "{", 1);
  kin_stream_add(out, stream);
  kin_json_add_name(out, "ShardId");
  kin_json_add_string(out, shard_id);
  kin_json_add_name(out, "ShardIteratorType");
  kin_json_add_string(out, kin_slice_of(types[from]));
  if (from == KIN_FROM_AT || from == KIN_FROM_AFTER) {
    kin_json_add_name(out, "StartingSequenceNumber");
    kin_json_add_string(out, sequence_number);
  } else if (from == KIN_FROM_TIMESTAMP) {
    char text[48]; /* formatted from integers: printf's decimal point depends on the locale */
    long long millis = (long long)(timestamp * 1000.0 + 0.5);
    snprintf(text, sizeof text, "%lld.%03lld", millis / 1000, millis % 1000);
    kin_json_add_name(out, "Timestamp");
    kin_buf_add_text(out, text);
  }
  kin_buf_add(out, "}", 1);
}

bool kin_get_shard_iterator_read(char *text, size_t len, kin_slice *iterator) {
  kin_json json;
  kin_slice key;
  *iterator = (kin_slice){0};
  kin_json_init(&json, text, len);
  if (!kin_json_object(&json))
    return false;
  while (kin_json_key(&json, &key)) {
    if (kin_slice_is(key, "ShardIterator"))
      kin_json_string_or_null(&json, iterator);
    else
      kin_json_skip(&json);
  }
  return kin_json_done(&json);
}

void kin_get_records_build(kin_buf *out, kin_slice stream, kin_slice iterator, unsigned limit) {
  kin_buf_add(out, "{", 1);
  if (stream.len > 4 && memcmp(stream.at, "arn:", 4) == 0)
    kin_stream_add(out, stream);
  kin_json_add_name(out, "ShardIterator");
  kin_json_add_string(out, iterator);
  if (limit > 0) {
    char text[16];
    snprintf(text, sizeof text, "%u", limit);
    kin_json_add_name(out, "Limit");
    kin_buf_add_text(out, text);
  }
  kin_buf_add(out, "}", 1);
}

static bool read_record(kin_json *json, kin_record *record) {
  kin_slice key;
  bool decoded = true;
  if (!kin_json_object(json))
    return false;
  while (kin_json_key(json, &key)) {
    if (kin_slice_is(key, "Data")) {
      kin_slice text;
      if (kin_json_string(json, &text))
        decoded = kin_base64_decode((char *)text.at, &record->data, text.len);
    } else if (kin_slice_is(key, "PartitionKey")) {
      kin_json_string_or_null(json, &record->partition_key);
    } else if (kin_slice_is(key, "SequenceNumber")) {
      kin_json_string(json, &record->sequence_number);
    } else if (kin_slice_is(key, "ApproximateArrivalTimestamp")) {
      if (!kin_json_null(json))
        kin_json_number(json, &record->arrival_timestamp);
    } else if (kin_slice_is(key, "EncryptionType")) {
      kin_json_string_or_null(json, &record->encryption_type);
    } else {
      kin_json_skip(json);
    }
  }
  return decoded && !json->bad && record->sequence_number.len > 0;
}

/* Makes space for one more item, doubling the array; NULL: out of memory. */
static void *grow(void *items, size_t count, size_t size) {
  bool full = count == 0 || (count >= 8 && (count & (count - 1)) == 0);
  if (!full)
    return items;
  return realloc(items, (count < 8 ? 8 : 2 * count) * size);
}

static bool read_records(kin_json *json, kin_page *page, bool *out_of_memory) {
  if (!kin_json_array(json))
    return false;
  while (kin_json_item(json)) {
    if (page->record_count == KIN_PAGE_RECORDS_MAX)
      return false;
    kin_record *records = grow(page->records, page->record_count, sizeof *records);
    if (!records) {
      *out_of_memory = true;
      return false;
    }
    page->records = records;
    records[page->record_count] = (kin_record){0};
    if (!read_record(json, &records[page->record_count]))
      return false;
    page->record_count++;
  }
  return !json->bad;
}

static bool read_child(kin_json *json, kin_child_shard *child) {
  kin_slice key;
  if (!kin_json_object(json))
    return false;
  while (kin_json_key(json, &key)) {
    if (kin_slice_is(key, "ShardId")) {
      kin_json_string(json, &child->id);
    } else if (kin_slice_is(key, "HashKeyRange")) {
      child->has_range = kin_hash_range_read(json, &child->range);
    } else if (kin_slice_is(key, "ParentShards") && kin_json_peek(json) == KIN_JSON_ARRAY) {
      kin_json_array(json);
      while (kin_json_item(json)) {
        kin_slice parent;
        if (kin_json_string(json, &parent) && child->parent_count < 2)
          child->parents[child->parent_count++] = parent;
      }
    } else {
      kin_json_skip(json);
    }
  }
  return !json->bad && child->id.len > 0;
}

static bool read_children(kin_json *json, kin_page *page, bool *out_of_memory) {
  if (kin_json_null(json))
    return true;
  page->has_children = true;
  if (!kin_json_array(json))
    return false;
  while (kin_json_item(json)) {
    if (page->child_count == KIN_PAGE_CHILDREN_MAX)
      return false;
    kin_child_shard *children = grow(page->children, page->child_count, sizeof *children);
    if (!children) {
      *out_of_memory = true;
      return false;
    }
    page->children = children;
    children[page->child_count] = (kin_child_shard){0};
    if (!read_child(json, &children[page->child_count]))
      return false;
    page->child_count++;
  }
  return !json->bad;
}

static bool read_page(kin_json *json, kin_page *page, bool *out_of_memory) {
  kin_slice key;
  bool records = false;
  if (!kin_json_object(json))
    return false;
  while (kin_json_key(json, &key)) {
    if (kin_slice_is(key, "Records") && !records) {
      records = true;
      if (!read_records(json, page, out_of_memory))
        return false;
    } else if (kin_slice_is(key, "NextShardIterator")) {
      kin_json_string_or_null(json, &page->next_iterator);
    } else if (kin_slice_is(key, "MillisBehindLatest")) {
      if (!kin_json_null(json))
        kin_json_number(json, &page->millis_behind);
    } else if (kin_slice_is(key, "ChildShards") && !page->has_children) {
      if (!read_children(json, page, out_of_memory))
        return false;
    } else {
      kin_json_skip(json);
    }
  }
  return kin_json_done(json) && records;
}

bool kin_get_records_read(kin_page *page, kin_buf *body, bool *out_of_memory) {
  kin_json json;
  *page = (kin_page){.body = *body, .millis_behind = -1};
  *out_of_memory = false;
  kin_buf_init(body, body->max);
  kin_json_init(&json, page->body.at, page->body.len);
  if (read_page(&json, page, out_of_memory))
    return true;
  kin_page_free(page);
  return false;
}

void kin_page_free(kin_page *page) {
  free(page->records);
  free(page->children);
  kin_buf_free(&page->body);
  *page = (kin_page){0};
}
