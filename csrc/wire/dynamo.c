#include "wire/dynamo.h"

#include <stdio.h>

/* ---- requests ---- */

/* {"TableName":"…" */
static void open_request(kin_buf *out, const kin_dynamo_table *table) {
  kin_buf_add_text(out, "{");
  kin_json_add_name(out, "TableName");
  kin_json_add_string(out, table->name);
}

/* The key as DynamoDB has it. False: it is of no stream. */
static bool add_key_value(kin_buf *out, const kin_dynamo_table *table, kin_slice key,
                          const kin_dynamo_stream **stream, kin_slice *shard) {
  char text[512];
  *stream = kin_dynamo_stream_of(table, key, shard);
  if (!*stream)
    return false;
  int len = snprintf(text, sizeof text, "%.*s%s%.*s", (int)(*stream)->name.len, (*stream)->name.at,
                     (*stream)->name.len > 0 ? ":" : "", (int)shard->len, shard->at);
  size_t expected = (*stream)->name.len + ((*stream)->name.len > 0) + shard->len;
  if (len < 0 || (size_t)len != expected || expected >= sizeof text)
    return false;
  kin_buf_add_text(out, "{\"S\":");
  kin_json_add_string(out, kin_slice_of(text));
  kin_buf_add_text(out, "}");
  return true;
}

/* ,"Key":{"leaseKey":…} */
static bool add_key_member(kin_buf *out, const kin_dynamo_table *table, kin_slice key,
                           const kin_dynamo_stream **stream) {
  kin_slice shard;
  kin_buf_add_text(out, ",\"Key\":{\"" KIN_DYNAMO_KEY "\":");
  bool good = add_key_value(out, table, key, stream, &shard);
  kin_buf_add_text(out, "}");
  return good;
}

void kin_dynamo_scan_build(kin_buf *out, const kin_dynamo_table *table, kin_slice after) {
  open_request(out, table);
  if (after.len > 0) {
    kin_json_add_name(out, "ExclusiveStartKey");
    kin_buf_add_slice(out, after);
  }
  kin_buf_add_text(out, "}");
}

bool kin_dynamo_get_build(kin_buf *out, const kin_dynamo_table *table, kin_slice key) {
  const kin_dynamo_stream *stream;
  open_request(out, table);
  bool good = add_key_member(out, table, key, &stream);
  kin_buf_add_text(out, ",\"ConsistentRead\":true}");
  return good;
}

static void add_text_attribute(kin_buf *out, const char *name, kin_slice text) {
  kin_json_add_raw_name(out, kin_slice_of(name));
  kin_buf_add_text(out, "{\"S\":");
  kin_json_add_string(out, text);
  kin_buf_add_text(out, "}");
}

bool kin_dynamo_put_build(kin_buf *out, const kin_dynamo_table *table, kin_slice key,
                          kin_slice row) {
  const kin_dynamo_stream *stream;
  kin_slice shard;
  open_request(out, table);
  kin_buf_add_text(out, ",\"Item\":{\"" KIN_DYNAMO_KEY "\":");
  if (!add_key_value(out, table, key, &stream, &shard) || !kin_dynamo_add_new_row(out, stream, row))
    return false;
  if (stream->name.len > 0) {
    add_text_attribute(out, "streamName", stream->name);
    add_text_attribute(out, "shardId", shard);
  } else {
    add_text_attribute(out, KIN_DYNAMO_STREAM, stream->prefix);
  }
  kin_buf_add_text(out, "},\"ConditionExpression\":\"attribute_not_exists(" KIN_DYNAMO_KEY ")\"}");
  return true;
}

/* ---- updates ---- */

/* The parts of an UpdateItem, or of a DeleteItem. In expressions, names are #0, #1, … and values
 * :0, :1, …: DynamoDB reserves hundreds of words. */
typedef struct update {
  kin_buf set, remove, names, values;
  unsigned count;
} update;

enum { UPDATE_MAX = 4 << 20 };

static void add_placeholder(kin_buf *out, char mark, unsigned number) {
  char text[16];
  snprintf(text, sizeof text, "%c%u", mark, number);
  kin_buf_add_text(out, text);
}

/* Gives a name its placeholder. */
static unsigned add_update_name(update *u, kin_slice name) {
  kin_buf_add_text(&u->names, u->names.len > 0 ? ",\"" : "\"");
  add_placeholder(&u->names, '#', u->count);
  kin_buf_add_text(&u->names, "\":");
  kin_json_add_quoted(&u->names, name);
  return u->count++;
}

/* Begins a value; the caller appends it to u->values. */
static void begin_update_value(update *u, unsigned number) {
  kin_buf_add_text(&u->values, u->values.len > 0 ? ",\"" : "\"");
  add_placeholder(&u->values, ':', number);
  kin_buf_add_text(&u->values, "\":");
}

static void add_removal(update *u, kin_slice name) {
  kin_buf_add_text(&u->remove, u->remove.len > 0 ? "," : " REMOVE ");
  add_placeholder(&u->remove, '#', add_update_name(u, name));
}

static void begin_set(update *u, kin_slice name) {
  unsigned number = add_update_name(u, name);
  kin_buf_add_text(&u->set, u->set.len > 0 ? "," : "SET ");
  add_placeholder(&u->set, '#', number);
  kin_buf_add_text(&u->set, "=");
  add_placeholder(&u->set, ':', number);
  begin_update_value(u, number);
}

static bool add_change(update *u, const kin_dynamo_stream *stream, const kin_dynamo_field *known,
                       kin_slice name, kin_slice value) {
  bool is_removal = kin_dynamo_is_removal(known, value);
  bool is_needed = known && known->first; /* by the KCL, in every row */
  if (is_removal && !is_needed) {
    add_removal(u, name);
    return true;
  }
  begin_set(u, name);
  return kin_dynamo_add_value(&u->values, stream, known,
                              is_removal ? kin_slice_of(known->first) : value);
}

/* What changes with the owner, and with the checkpoint. */
static void add_consequences(update *u, const kin_dynamo_field_reader *reader, kin_slice owner) {
  static const char *const pending[] = {"pendingCheckpoint", "pendingCheckpointSubSequenceNumber",
                                        "pendingCheckpointState"};
  if (owner.len > 0) {
    kin_slice held_by = reader->kcl ? KIN_SLICE("false") : owner;
    add_change(u, NULL, NULL, KIN_SLICE(KIN_DYNAMO_HELD_BY), held_by);
    add_removal(u, KIN_SLICE(KIN_DYNAMO_CHECKPOINT_OWNER));
  }
  for (size_t i = 0; reader->checkpoint.len > 0 && i < sizeof pending / sizeof *pending; i++)
    add_removal(u, kin_slice_of(pending[i]));
  if (reader->checkpoint.len > 0 || reader->sub.len > 0) {
    begin_set(u, KIN_SLICE(KIN_DYNAMO_SUB_NUMBER));
    kin_attribute_add_number(&u->values, kin_dynamo_sub(reader->checkpoint, reader->sub));
  }
}

static bool add_changes(update *u, const kin_dynamo_stream *stream, kin_slice changes) {
  kin_dynamo_field_reader reader;
  kin_slice owner = {0};
  if (!kin_dynamo_begin_fields(&reader, changes))
    return false;
  while (kin_dynamo_next_field(&reader)) {
    if (!add_change(u, stream, reader.known, kin_dynamo_attribute_of(&reader), reader.value))
      return false;
    if (kin_slice_is(reader.name, "owner"))
      owner = reader.value;
  }
  add_consequences(u, &reader, owner);
  return kin_json_done(&reader.json);
}

/* Appends NAME=VALUE, and begins the value. */
static void add_equation(update *u, const char *name, kin_buf *out) {
  unsigned number = add_update_name(u, kin_slice_of(name));
  add_placeholder(out, '#', number);
  kin_buf_add_text(out, "=");
  add_placeholder(out, ':', number);
  begin_update_value(u, number);
}

/* Appends "(CHECKPOINT_OWNER=owner OR OWNER=owner AND there is no CHECKPOINT_OWNER)": while the
 * leader of KCL 3 workers moves a lease, that is its owner. */
static void add_owner_condition(update *u, kin_slice owner, kin_buf *out) {
  unsigned moved = u->count;
  kin_buf_add_text(out, " AND (");
  add_equation(u, KIN_DYNAMO_CHECKPOINT_OWNER, out);
  kin_attribute_add_typed(&u->values, "S", owner);
  kin_buf_add_text(out, " OR ");
  add_equation(u, KIN_DYNAMO_OWNER, out);
  kin_attribute_add_typed(&u->values, "S", owner);
  kin_buf_add_text(out, " AND attribute_not_exists(");
  add_placeholder(out, '#', moved);
  kin_buf_add_text(out, "))");
}

/* Appends the condition to `out`. */
static void add_condition(update *u, kin_slice owner, uint64_t counter, kin_buf *out) {
  char digits[24];
  kin_buf_add_text(out, ",\"ConditionExpression\":\"");
  add_equation(u, KIN_DYNAMO_COUNTER, out);
  snprintf(digits, sizeof digits, "%llu", (unsigned long long)counter);
  kin_attribute_add_number(&u->values, kin_slice_of(digits));
  if (owner.len > 0) {
    add_owner_condition(u, owner, out);
  } else {
    kin_buf_add_text(out, " AND attribute_not_exists(");
    add_placeholder(out, '#', add_update_name(u, KIN_SLICE(KIN_DYNAMO_OWNER)));
    kin_buf_add_text(out, ")");
  }
  kin_buf_add_text(out, "\"");
}

static void add_part(kin_buf *out, const char *before, const kin_buf *part, const char *after) {
  kin_buf_add_text(out, before);
  kin_buf_add_slice(out, kin_buf_slice(part));
  kin_buf_add_text(out, after);
}

static void begin_parts(update *u) {
  *u = (update){.count = 0};
  kin_buf_init(&u->set, UPDATE_MAX);
  kin_buf_init(&u->remove, UPDATE_MAX);
  kin_buf_init(&u->names, UPDATE_MAX);
  kin_buf_init(&u->values, UPDATE_MAX);
}

/* Ends a request of which the key and the condition are written. */
static void add_parts(update *u, kin_buf *out) {
  bool failed = u->set.failed || u->remove.failed || u->names.failed || u->values.failed;
  if (!failed && u->set.len + u->remove.len > 0) {
    add_part(out, ",\"UpdateExpression\":\"", &u->set, "");
    add_part(out, "", &u->remove, "\"");
  }
  if (!failed) {
    add_part(out, ",\"ExpressionAttributeNames\":{", &u->names, "}");
    add_part(out, ",\"ExpressionAttributeValues\":{", &u->values, "}");
  }
  out->failed = out->failed || failed;
  kin_buf_free(&u->set);
  kin_buf_free(&u->remove);
  kin_buf_free(&u->names);
  kin_buf_free(&u->values);
}

bool kin_dynamo_update_build(kin_buf *out, const kin_dynamo_table *table, kin_slice key,
                             kin_slice owner, uint64_t counter, kin_slice changes) {
  const kin_dynamo_stream *stream;
  update u;
  begin_parts(&u);
  open_request(out, table);
  bool good = add_key_member(out, table, key, &stream) &&
              (changes.len == 0 || add_changes(&u, stream, changes));
  add_condition(&u, owner, counter, out);
  add_parts(&u, out);
  kin_buf_add_text(out, ",\"ReturnValues\":\"ALL_NEW\","
                        "\"ReturnValuesOnConditionCheckFailure\":\"ALL_OLD\"}");
  return good;
}

bool kin_dynamo_delete_build(kin_buf *out, const kin_dynamo_table *table, kin_slice key,
                             kin_slice owner, uint64_t counter) {
  const kin_dynamo_stream *stream;
  update u;
  begin_parts(&u);
  open_request(out, table);
  bool good = add_key_member(out, table, key, &stream);
  add_condition(&u, owner, counter, out);
  add_parts(&u, out);
  kin_buf_add_text(out, "}");
  return good;
}

/* ---- responses ---- */

static bool read_items(const kin_dynamo_table *table, kin_json *json, kin_buf *out,
                       kin_dynamo_fit *fit) {
  kin_slice item;
  kin_dynamo_view view;
  if (!kin_json_array(json))
    return false;
  while (kin_json_item(json)) {
    if (!kin_json_raw(json, &item) || !kin_dynamo_view_item(table, item, &view))
      return false;
    if (view.fit != KIN_DYNAMO_FITS)
      *fit = view.fit;
    if (!view.stream)
      continue;
    kin_json_add_comma(out);
    kin_dynamo_add_key(out, view.stream, view.shard);
    kin_buf_add_text(out, ":");
    if (!kin_dynamo_add_row(&view, item, out))
      return false;
  }
  return !json->bad;
}

bool kin_dynamo_scan_read(const kin_dynamo_table *table, kin_buf *response, kin_buf *out,
                          kin_slice *after, kin_dynamo_fit *fit) {
  kin_json json = kin_json_look(kin_buf_slice(response));
  kin_slice name;
  bool listed = false;
  *after = (kin_slice){0};
  *fit = KIN_DYNAMO_FITS;
  if (!kin_json_object(&json))
    return false;
  while (kin_json_key(&json, &name)) {
    if (kin_slice_is(name, "Items")) {
      listed = true;
      if (!read_items(table, &json, out, fit))
        return false;
    } else if (kin_slice_is(name, "LastEvaluatedKey") && kin_json_peek(&json) == KIN_JSON_OBJECT) {
      kin_json_raw(&json, after);
    } else {
      kin_json_skip(&json);
    }
  }
  return kin_json_done(&json) && listed;
}

bool kin_dynamo_row_read(const kin_dynamo_table *table, kin_buf *response, const char *member,
                         kin_buf *out) {
  kin_json json = kin_json_look(kin_buf_slice(response));
  kin_slice name, item;
  kin_dynamo_view view;
  if (!kin_json_object(&json))
    return false;
  while (kin_json_key(&json, &name)) {
    bool is_item = kin_slice_is(name, member) && kin_json_peek(&json) == KIN_JSON_OBJECT;
    if (!kin_json_raw(&json, &item))
      return false;
    if (is_item && (!kin_dynamo_view_item(table, item, &view) ||
                    (view.stream && !kin_dynamo_add_row(&view, item, out))))
      return false;
  }
  return kin_json_done(&json);
}
