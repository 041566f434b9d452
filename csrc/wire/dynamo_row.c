#include "wire/dynamo_row.h"

#define FIRST_CHECKPOINT "\"TRIM_HORIZON\""

/* The fields whose attributes have other names, and those that complete a new row. */
static const kin_dynamo_field known_fields[] = {
    {"owner", KIN_DYNAMO_OWNER, KIN_DYNAMO_TEXT, NULL},
    {"counter", KIN_DYNAMO_COUNTER, KIN_DYNAMO_NUMBER, "0"},
    {"owner_switches", "ownerSwitchesSinceCheckpoint", KIN_DYNAMO_NUMBER, "0"},
    {"checkpoint", "checkpoint", KIN_DYNAMO_TEXT, FIRST_CHECKPOINT},
    {"sub", KIN_DYNAMO_SUB_NUMBER, KIN_DYNAMO_SUB, NULL},
    {"timestamp", "checkpointTimestamp", KIN_DYNAMO_NUMBER, NULL},
    {"parents", "parentShardId", KIN_DYNAMO_SHARDS, NULL},
    {"children", "childShardIds", KIN_DYNAMO_SHARDS, NULL},
    {"starting_hash_key", "startingHashKey", KIN_DYNAMO_TEXT, NULL},
    {"ending_hash_key", "endingHashKey", KIN_DYNAMO_TEXT, NULL},
    {"throughput", "throughputKBps", KIN_DYNAMO_KILOS, NULL},
    {"wanted_by", KIN_DYNAMO_WANTED_BY, KIN_DYNAMO_TEXT, NULL},
    {"since", KIN_DYNAMO_SINCE, KIN_DYNAMO_NUMBER, NULL},
};

enum { KNOWN = sizeof known_fields / sizeof *known_fields };

static const kin_dynamo_field *find_field(kin_slice name) {
  for (size_t i = 0; i < KNOWN; i++)
    if (kin_slice_is(name, known_fields[i].field))
      return &known_fields[i];
  return NULL;
}

static const kin_dynamo_field *find_attribute(kin_slice name) {
  for (size_t i = 0; i < KNOWN; i++)
    if (kin_slice_is(name, known_fields[i].attribute))
      return &known_fields[i];
  return NULL;
}

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

static bool is_sequence_number(kin_slice checkpoint) {
  kin_slice text = kin_json_inside(checkpoint);
  return text.len > 0 && is_digit(text.at[0]);
}

static bool is_same(kin_slice a, kin_slice b) {
  return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

static bool begins_with(kin_slice text, kin_slice start) {
  return text.len >= start.len && (start.len == 0 || memcmp(text.at, start.at, start.len) == 0);
}

static kin_slice behind(kin_slice text, size_t len) {
  return (kin_slice){text.at + len, text.len - len};
}

/* ---- streams ---- */

const kin_dynamo_stream *kin_dynamo_stream_of(const kin_dynamo_table *table, kin_slice key,
                                              kin_slice *shard) {
  for (size_t i = 0; i < table->count; i++) {
    const kin_dynamo_stream *stream = &table->streams[i];
    if (!begins_with(key, stream->prefix))
      continue;
    *shard = behind(key, stream->prefix.len);
    return stream;
  }
  return NULL;
}

/* The stream of a KCL's key: NULL: it is another one. */
static const kin_dynamo_stream *stream_of_item(const kin_dynamo_table *table, kin_slice key,
                                               kin_slice *shard) {
  for (size_t i = 0; i < table->count; i++) {
    const kin_dynamo_stream *stream = &table->streams[i];
    size_t len = stream->name.len;
    *shard = key;
    if (len == 0 && key.len > 0 && !memchr(key.at, ':', key.len))
      return stream;
    if (len > 0 && begins_with(key, stream->name) && key.len > len + 1 && key.at[len] == ':') {
      *shard = behind(key, len + 1);
      return stream;
    }
  }
  return NULL;
}

void kin_dynamo_add_key(kin_buf *out, const kin_dynamo_stream *stream, kin_slice shard) {
  kin_json_add_string(out, stream->prefix);
  if (!out->failed)
    out->len--; /* the quote */
  kin_buf_add_slice(out, shard);
  kin_buf_add_text(out, "\"");
}

/* ---- fields as attributes ---- */

kin_slice kin_dynamo_sub(kin_slice checkpoint, kin_slice sub) {
  if (checkpoint.len > 0 && !is_sequence_number(checkpoint))
    return KIN_SLICE("0");
  return kin_json_is_number(sub) ? sub : KIN_SLICE(KIN_DYNAMO_WHOLE);
}

static bool add_shards(kin_buf *out, const kin_dynamo_stream *stream, kin_slice value) {
  kin_json json = kin_json_look(value);
  kin_slice key;
  kin_buf_add_text(out, "{\"SS\":[");
  for (kin_json_array(&json); kin_json_item(&json);) {
    if (!kin_json_string(&json, &key))
      return false;
    kin_json_add_comma(out);
    bool has = begins_with(key, stream->prefix);
    kin_json_add_quoted(out, has ? behind(key, stream->prefix.len) : key);
  }
  kin_buf_add_text(out, "]}");
  return !json.bad;
}

/* Appends a multiple of a number, to six decimals. */
static bool add_scaled(kin_buf *out, kin_slice digits, double factor) {
  const double unit = 1e6, most = 1e12;
  kin_json json = kin_json_look(digits);
  double number;
  if (kin_json_peek(&json) != KIN_JSON_NUMBER || !kin_json_number(&json, &number))
    return false;
  number *= factor;
  if (number > 0 && number < most)
    number = (double)(int64_t)(number * unit + 0.5) / unit;
  return kin_json_add_number(out, number);
}

bool kin_dynamo_add_value(kin_buf *out, const kin_dynamo_stream *stream,
                          const kin_dynamo_field *known, kin_slice value) {
  if (!known || value.at[0] == '{' || known->kind == KIN_DYNAMO_TEXT)
    return kin_attribute_add(out, value);
  if (known->kind == KIN_DYNAMO_SHARDS)
    return value.at[0] == '[' && add_shards(out, stream, value);
  if (!kin_json_is_number(value))
    return false;
  if (known->kind != KIN_DYNAMO_KILOS) {
    kin_attribute_add_number(out, value);
    return true;
  }
  kin_buf_add_text(out, "{\"N\":\"");
  bool good = add_scaled(out, value, 1e-3);
  kin_buf_add_text(out, "\"}");
  return good;
}

bool kin_dynamo_is_removal(const kin_dynamo_field *known, kin_slice value) {
  bool is_set = known && known->kind == KIN_DYNAMO_SHARDS; /* no set is empty */
  return kin_slice_is(value, "false") ||
         (is_set && (kin_slice_is(value, "[]") || kin_slice_is(value, "{}")));
}

bool kin_dynamo_next_field(kin_dynamo_field_reader *reader) {
  while (kin_json_key(&reader->json, &reader->name)) {
    if (!kin_json_raw(&reader->json, &reader->value))
      return false;
    reader->known = find_field(reader->name);
    if (reader->known && strcmp(reader->known->attribute, "checkpoint") == 0)
      reader->checkpoint = reader->value;
    if (reader->known && reader->known->kind == KIN_DYNAMO_SUB)
      reader->sub = reader->value;
    else if (kin_slice_is(reader->name, "kcl"))
      reader->kcl = kin_slice_is(reader->value, "true");
    else
      return true;
  }
  return false;
}

bool kin_dynamo_begin_fields(kin_dynamo_field_reader *reader, kin_slice row) {
  *reader = (kin_dynamo_field_reader){.json = kin_json_look(row)};
  return row.len > 0 && kin_json_object(&reader->json);
}

kin_slice kin_dynamo_attribute_of(const kin_dynamo_field_reader *reader) {
  return reader->known ? kin_slice_of(reader->known->attribute) : reader->name;
}

bool kin_dynamo_add_new_row(kin_buf *out, const kin_dynamo_stream *stream, kin_slice row) {
  kin_dynamo_field_reader reader;
  bool given[KNOWN] = {false};
  if (!kin_dynamo_begin_fields(&reader, row))
    return false;
  while (kin_dynamo_next_field(&reader)) {
    if (kin_dynamo_is_removal(reader.known, reader.value))
      continue;
    kin_json_add_raw_name(out, kin_dynamo_attribute_of(&reader));
    if (!kin_dynamo_add_value(out, stream, reader.known, reader.value))
      return false;
    if (reader.known)
      given[reader.known - known_fields] = true;
    if (kin_slice_is(reader.name, "owner")) {
      kin_json_add_raw_name(out, kin_slice_of(KIN_DYNAMO_HELD_BY));
      kin_attribute_add_typed(out, "S", reader.value);
    }
  }
  for (size_t i = 0; i < KNOWN; i++) {
    const kin_dynamo_field *known = &known_fields[i];
    if (!known->first || given[i])
      continue;
    kin_json_add_raw_name(out, kin_slice_of(known->attribute));
    kin_dynamo_add_value(out, stream, known, kin_slice_of(known->first));
  }
  kin_slice first = KIN_SLICE(FIRST_CHECKPOINT);
  kin_slice checkpoint = reader.checkpoint.len > 0 ? reader.checkpoint : first;
  kin_json_add_raw_name(out, KIN_SLICE(KIN_DYNAMO_SUB_NUMBER));
  kin_attribute_add_number(out, kin_dynamo_sub(checkpoint, reader.sub));
  return kin_json_done(&reader.json);
}

/* ---- items as rows ---- */

/* Whether the lease of this key, and of that stream where it says so, fits the table. */
static kin_dynamo_fit fit_of(const kin_dynamo_table *table, kin_slice key, kin_slice stream) {
  const kin_dynamo_stream *first = table->streams;
  bool many = memchr(key.at, ':', key.len) != NULL;
  if (table->count > 0 && many != (first->name.len > 0))
    return many ? KIN_DYNAMO_MANY_STREAMS : KIN_DYNAMO_ONE_STREAM;
  bool fits = many || stream.len == 0 || table->count == 0 || is_same(stream, first->prefix);
  return fits ? KIN_DYNAMO_FITS : KIN_DYNAMO_OTHER_STREAM;
}

/* The versions of which only a leader assigns leases: CLIENT_VERSION_3X, …_3X_WITH_ROLLBACK. */
static bool is_version_3(kin_slice key, kin_slice version) {
  return kin_slice_is(key, "Migration3.0") && begins_with(version, KIN_SLICE("CLIENT_VERSION_3X"));
}

/* The attributes by which an item is known, as they are written. */
typedef struct marks {
  kin_slice key, entity, stream, version, checkpoint_owner;
  bool counted;
} marks;

static void note_attribute(kin_dynamo_view *view, marks *m, kin_slice name, kin_slice type,
                           kin_slice value) {
  const struct {
    const char *name;
    kin_slice *place;
  } texts[] = {
      {KIN_DYNAMO_KEY, &m->key},
      {"entityType", &m->entity},
      {KIN_DYNAMO_STREAM, &m->stream},
      {"cv", &m->version},
      {"checkpoint", &view->checkpoint},
      {KIN_DYNAMO_OWNER, &view->owner},
      {KIN_DYNAMO_CHECKPOINT_OWNER, &m->checkpoint_owner},
      {KIN_DYNAMO_HELD_BY, &view->held_by},
  };
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    if (kin_slice_is(type, "S") && kin_slice_is(name, texts[i].name))
      *texts[i].place = value;
  m->counted = m->counted || kin_slice_is(name, KIN_DYNAMO_COUNTER);
  view->has_sub = view->has_sub || kin_slice_is(name, KIN_DYNAMO_SUB_NUMBER);
}

bool kin_dynamo_view_item(const kin_dynamo_table *table, kin_slice item, kin_dynamo_view *view) {
  kin_json json = kin_json_look(item);
  kin_slice name, type, value;
  marks m = {.counted = false};
  *view = (kin_dynamo_view){0};
  if (!kin_json_object(&json))
    return false;
  while (kin_json_key(&json, &name)) {
    if (!kin_attribute_read(&json, &type, &value))
      return false;
    note_attribute(view, &m, name, type, value);
  }
  if (m.checkpoint_owner.len > 0) {
    view->next_owner = view->owner;
    view->owner = m.checkpoint_owner;
  }
  view->kcl = view->owner.len > 0 && !is_same(view->owner, view->held_by);
  kin_slice key = kin_json_inside(m.key);
  bool is_entity = m.entity.len == 0 || kin_slice_is(m.entity, "\"LEASE\"");
  if (m.counted && is_entity && key.len > 0) {
    view->fit = fit_of(table, key, kin_json_inside(m.stream));
    if (view->fit == KIN_DYNAMO_FITS)
      view->stream = stream_of_item(table, key, &view->shard);
  } else if (!table->kcl3 && is_version_3(key, kin_json_inside(m.version))) {
    view->fit = KIN_DYNAMO_KCL_3;
  }
  return !json.bad;
}

static bool read_shards(const kin_dynamo_stream *stream, kin_slice value, kin_buf *out) {
  kin_json json = kin_json_look(value);
  kin_slice shard;
  if (!kin_json_array(&json))
    return false;
  kin_buf_add_text(out, "[");
  while (kin_json_item(&json)) {
    if (!kin_json_string(&json, &shard))
      return false;
    kin_json_add_comma(out);
    kin_dynamo_add_key(out, stream, shard);
  }
  kin_buf_add_text(out, "]");
  return !json.bad;
}

/* Whether it is a place inside the record: not behind all of it. */
static bool is_inside(kin_slice digits) {
  kin_slice whole = KIN_SLICE(KIN_DYNAMO_WHOLE);
  return digits.len < whole.len ||
         (digits.len == whole.len && memcmp(digits.at, whole.at, whole.len) < 0);
}

/* Attributes that are no fields: they are written with the key and the owner, or the row would have
 * the name twice; or they are an owner's before the KCL. */
static bool is_hidden(const kin_dynamo_view *view, kin_slice name) {
  bool of_stream = kin_slice_is(name, "streamName") || kin_slice_is(name, "shardId");
  bool of_asker = kin_slice_is(name, KIN_DYNAMO_WANTED_BY);
  bool of_owner = kin_slice_is(name, KIN_DYNAMO_OWNER) || of_asker;
  bool of_before = of_asker || kin_slice_is(name, KIN_DYNAMO_SINCE);
  return kin_slice_is(name, KIN_DYNAMO_KEY) || kin_slice_is(name, KIN_DYNAMO_HELD_BY) ||
         kin_slice_is(name, KIN_DYNAMO_STREAM) || kin_slice_is(name, "kcl") ||
         kin_slice_is(name, KIN_DYNAMO_CHECKPOINT_OWNER) ||
         (of_owner && view->next_owner.len > 0) || (of_before && view->kcl) ||
         (of_stream && view->stream->name.len > 0) || (find_field(name) && !find_attribute(name));
}

static bool add_field(const kin_dynamo_view *view, kin_slice name, kin_slice typed, kin_buf *out) {
  const kin_dynamo_field *known = find_attribute(name);
  kin_json json = kin_json_look(typed);
  kin_slice type, value;
  if (!kin_attribute_read(&json, &type, &value))
    return false;
  bool is_sub = known && known->kind == KIN_DYNAMO_SUB;
  if (is_hidden(view, name) ||
      (is_sub && !(is_sequence_number(view->checkpoint) && is_inside(kin_json_inside(value)))))
    return true;
  kin_json_add_raw_name(out, known ? kin_slice_of(known->field) : name);
  if (known && known->kind == KIN_DYNAMO_SHARDS && kin_slice_is(type, "SS"))
    return read_shards(view->stream, value, out);
  if (known && known->kind == KIN_DYNAMO_KILOS && kin_json_is_number(kin_json_inside(value)))
    return add_scaled(out, kin_json_inside(value), 1e3);
  return kin_attribute_add_plain(out, typed);
}

static void add_text(kin_buf *out, const char *name, kin_slice value) {
  kin_json_add_raw_name(out, kin_slice_of(name));
  kin_buf_add_slice(out, value);
}

bool kin_dynamo_add_row(const kin_dynamo_view *view, kin_slice item, kin_buf *out) {
  kin_json json = kin_json_look(item);
  kin_slice name, typed;
  kin_buf_add_text(out, "{");
  kin_json_object(&json);
  while (kin_json_key(&json, &name))
    if (!kin_json_raw(&json, &typed) || !add_field(view, name, typed, out))
      return false;
  if (is_sequence_number(view->checkpoint) && !view->has_sub)
    kin_buf_add_text(out, ",\"sub\":0");
  if (view->next_owner.len > 0) {
    add_text(out, "owner", view->owner);
    add_text(out, "wanted_by", view->next_owner);
  }
  if (view->kcl)
    kin_buf_add_text(out, ",\"kcl\":true");
  kin_buf_add_text(out, "}");
  return !json.bad;
}
