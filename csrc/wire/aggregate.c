#include "wire/aggregate.h"

#include <stdint.h>
#include <stdlib.h>

#include "wire/md5_lanes.h"

/* https://protobuf.dev/programming-guides/encoding: a field is a number and wire type, then a
 * value. */
enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5, VARINT_MAX = 10 };

#define FIELD(number, type) ((unsigned char)((number) << 3 | (type)))

static const unsigned char magic[4] = {0xf3, 0x89, 0x9a, 0xc2};

/* ---- the tables of keys ---- */

typedef struct key_span {
  size_t at, len; /* in the table's buffer of keys */
} key_span;

typedef struct kin_key_table {
  key_span *spans;
  size_t count, capacity;
  uint32_t *slots; /* 1 + index of a span; 0: empty. A power of two, at least twice the capacity */
  size_t slot_count;
} key_table;

enum { FIRST_CAPACITY = 64 };

/* Fibonacci hashing, eight bytes at a time: the high bits depend on all bytes. */
static uint32_t hash_of(kin_slice key) {
  uint64_t hash = key.len, word = 0;
  for (; key.len >= sizeof word; key.at += sizeof word, key.len -= sizeof word) {
    memcpy(&word, key.at, sizeof word);
    hash = (hash ^ word) * 0x9e3779b97f4a7c15;
    hash ^= hash >> 32;
  }
  word = 0;
  if (key.len > 0)
    memcpy(&word, key.at, key.len);
  hash = (hash ^ word) * 0x9e3779b97f4a7c15;
  return (uint32_t)(hash >> 32);
}

/* The slot of the key, or the empty slot for it. */
static uint32_t *find_slot(const key_table *table, const kin_buf *keys, kin_slice key) {
  size_t slot = hash_of(key) & (table->slot_count - 1);
  for (; table->slots[slot] != 0; slot = (slot + 1) & (table->slot_count - 1)) {
    const key_span *span = &table->spans[table->slots[slot] - 1];
    if (span->len == key.len && memcmp(keys->at + span->at, key.at, key.len) == 0)
      break;
  }
  return &table->slots[slot];
}

static bool grow(key_table *table, const kin_buf *keys) {
  size_t capacity = table->capacity ? 2 * table->capacity : FIRST_CAPACITY;
  key_span *spans = realloc(table->spans, capacity * sizeof *spans);
  if (!spans)
    return false;
  table->spans = spans;
  uint32_t *slots = calloc(2 * capacity, sizeof *slots);
  if (!slots)
    return false;
  free(table->slots);
  table->slots = slots;
  table->slot_count = 2 * capacity;
  table->capacity = capacity;
  for (size_t i = 0; i < table->count; i++) {
    kin_slice key = {keys->at + table->spans[i].at, table->spans[i].len};
    *find_slot(table, keys, key) = (uint32_t)i + 1;
  }
  return true;
}

static void clear_table(key_table *table) {
  if (table && table->count > 0)
    memset(table->slots, 0, table->slot_count * sizeof *table->slots);
  if (table)
    table->count = 0;
}

static void free_table(key_table *table) {
  if (!table)
    return;
  free(table->spans);
  free(table->slots);
  free(table);
}

/* ---- writing ---- */

static void add_varint(kin_buf *out, uint64_t value) {
  unsigned char bytes[VARINT_MAX];
  size_t len = 0;
  for (; value >= 0x80; value >>= 7)
    bytes[len++] = (unsigned char)(value | 0x80);
  bytes[len++] = (unsigned char)value;
  kin_buf_add(out, bytes, len);
}

static size_t varint_size(uint64_t value) {
  size_t size = 1;
  for (; value >= 0x80; value >>= 7)
    size++;
  return size;
}

static void add_field(kin_buf *out, unsigned char field) {
  kin_buf_add(out, &field, 1);
}

void kin_aggregate_init(kin_aggregate *aggregate, size_t max) {
  *aggregate = (kin_aggregate){0};
  kin_buf_init(&aggregate->keys, max);
  kin_buf_init(&aggregate->hash_keys, max);
  kin_buf_init(&aggregate->records, max);
}

void kin_aggregate_free(kin_aggregate *aggregate) {
  kin_buf_free(&aggregate->keys);
  kin_buf_free(&aggregate->hash_keys);
  kin_buf_free(&aggregate->records);
  free_table(aggregate->key_table);
  free_table(aggregate->hash_key_table);
  aggregate->key_table = aggregate->hash_key_table = NULL;
}

void kin_aggregate_clear(kin_aggregate *aggregate) {
  kin_buf_clear(&aggregate->keys);
  kin_buf_clear(&aggregate->hash_keys);
  kin_buf_clear(&aggregate->records);
  clear_table(aggregate->key_table);
  clear_table(aggregate->hash_key_table);
  aggregate->count = 0;
  aggregate->failed = false;
}

/* The key's index in its table; a new key is added. False: out of memory. */
static bool find_key(key_table **table, kin_buf *keys, unsigned char field, kin_slice key,
                     size_t *index) {
  if (!*table)
    *table = calloc(1, sizeof **table);
  if (!*table || ((*table)->count == (*table)->capacity && !grow(*table, keys)))
    return false;
  uint32_t *slot = find_slot(*table, keys, key);
  if (*slot == 0) {
    add_field(keys, field);
    add_varint(keys, key.len);
    kin_buf_add_slice(keys, key);
    if (keys->failed)
      return false;
    (*table)->spans[(*table)->count] = (key_span){keys->len - key.len, key.len};
    *slot = (uint32_t)++(*table)->count;
  }
  *index = *slot - 1;
  return true;
}

void kin_aggregate_add(kin_aggregate *aggregate, const kin_put *put) {
  size_t key, hash_key = 0;
  bool has_hash_key = put->explicit_hash_key.len > 0;
  kin_buf *out = &aggregate->records;
  if (aggregate->failed ||
      !find_key(&aggregate->key_table, &aggregate->keys, FIELD(1, BYTES), put->partition_key,
                &key) ||
      (has_hash_key && !find_key(&aggregate->hash_key_table, &aggregate->hash_keys, FIELD(2, BYTES),
                                 put->explicit_hash_key, &hash_key))) {
    aggregate->failed = true;
    return;
  }
  size_t size = 1 + varint_size(key) + 1 + varint_size(put->data.len) + put->data.len;
  if (has_hash_key)
    size += 1 + varint_size(hash_key);
  add_field(out, FIELD(3, BYTES));
  add_varint(out, size);
  add_field(out, FIELD(1, VARINT));
  add_varint(out, key);
  if (has_hash_key) {
    add_field(out, FIELD(2, VARINT));
    add_varint(out, hash_key);
  }
  add_field(out, FIELD(3, BYTES));
  add_varint(out, put->data.len);
  kin_buf_add_slice(out, put->data);
  aggregate->failed = out->failed;
  aggregate->count++;
}

size_t kin_aggregate_growth(const kin_put *put) {
  enum { KEY = 4, INDEX = 6, RECORD = 12 }; /* upper bounds of tags, lengths and indices */
  size_t size = KEY + put->partition_key.len + INDEX + RECORD + put->data.len;
  return put->explicit_hash_key.len > 0 ? size + KEY + put->explicit_hash_key.len + INDEX : size;
}

bool kin_aggregate_write(const kin_aggregate *aggregate, kin_md5 *md5, kin_buf *out) {
  unsigned char digest[KIN_MD5];
  kin_slice parts[] = {
      kin_buf_slice(&aggregate->keys),
      kin_buf_slice(&aggregate->hash_keys),
      kin_buf_slice(&aggregate->records),
  };
  if (aggregate->failed || !kin_md5_digest(md5, parts, 3, digest))
    return false;
  kin_buf_add(out, magic, sizeof magic);
  for (int i = 0; i < 3; i++)
    kin_buf_add_slice(out, parts[i]);
  kin_buf_add(out, digest, sizeof digest);
  return !out->failed;
}

/* ---- reading ---- */

static bool take_long_varint(kin_slice *bytes, uint64_t *value) {
  *value = 0;
  for (size_t i = 0; i < VARINT_MAX && i < bytes->len; i++) {
    unsigned char byte = (unsigned char)bytes->at[i];
    *value |= (uint64_t)(byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      bytes->at += i + 1;
      bytes->len -= i + 1;
      return true;
    }
  }
  return false;
}

/* Nearly all have one byte. */
static inline bool take_varint(kin_slice *bytes, uint64_t *value) {
  if (bytes->len == 0 || (unsigned char)*bytes->at >= 0x80)
    return take_long_varint(bytes, value);
  *value = (unsigned char)*bytes->at++;
  bytes->len--;
  return true;
}

typedef struct field {
  uint64_t number, value; /* value: of a varint */
  unsigned type;
  kin_slice bytes; /* of a run of bytes */
} field;

static bool take_bytes(kin_slice *from, uint64_t len, kin_slice *bytes) {
  if (len > from->len)
    return false;
  *bytes = (kin_slice){from->at, (size_t)len};
  from->at += len;
  from->len -= (size_t)len;
  return true;
}

static bool take_field(kin_slice *message, field *next) {
  uint64_t tag, len;
  if (!take_varint(message, &tag))
    return false;
  *next = (field){.number = tag >> 3, .type = (unsigned)(tag & 7)};
  switch (next->type) {
  case VARINT:
    return take_varint(message, &next->value);
  case FIXED64:
    return take_bytes(message, 8, &next->bytes);
  case FIXED32:
    return take_bytes(message, 4, &next->bytes);
  case BYTES:
    return take_varint(message, &len) && take_bytes(message, len, &next->bytes);
  default:
    return false;
  }
}

static bool is_bytes(const field *of, unsigned number) {
  return of->number == number && of->type == BYTES;
}

/* In a number of the reader's tables: where the key is in the message, and what is known of its
 * place. */
enum { OFFSET_BITS = 30, OFFSET_MASK = (1 << OFFSET_BITS) - 1 };
static const uint32_t is_judged = UINT32_C(1) << 30, is_outside = UINT32_C(1) << 31;

/* The key of a number that collect_keys has noted. */
static kin_slice key_at(const kin_aggregate_reader *reader, uint32_t number) {
  kin_slice rest = {reader->start + (number & OFFSET_MASK), SIZE_MAX}, key = {0};
  uint64_t len;
  if (take_varint(&rest, &len))
    key = (kin_slice){rest.at, (size_t)len};
  return key;
}

/* False: the record has no key or no data, or an index beyond the tables. */
static bool read_record(kin_aggregate_reader *reader, kin_slice message, kin_put *record) {
  bool has_key = false, has_data = false;
  field next;
  *record = (kin_put){0};
  while (message.len > 0) {
    if (!take_field(&message, &next))
      return false;
    if (next.number == 1 && next.type == VARINT) {
      if (next.value >= reader->key_count)
        return false;
      reader->key = next.value;
      record->partition_key = key_at(reader, reader->keys[next.value]);
      has_key = true;
    } else if (next.number == 2 && next.type == VARINT) {
      if (next.value >= reader->hash_key_count)
        return false;
      reader->hash_key = next.value;
      record->explicit_hash_key = key_at(reader, reader->hash_keys[next.value]);
    } else if (is_bytes(&next, 3)) {
      record->data = next.bytes;
      has_data = true;
    } else if (next.number >= 1 && next.number <= 3) {
      return false;
    }
  }
  return has_key && has_data;
}

/* Counts keys and records. False: malformed, or no records. */
static bool count_fields(kin_aggregate_reader *reader, kin_slice message) {
  field next;
  while (message.len > 0) {
    if (!take_field(&message, &next) ||
        (next.number >= 1 && next.number <= 3 && next.type != BYTES))
      return false;
    reader->key_count += next.number == 1;
    reader->hash_key_count += next.number == 2;
    reader->count += next.number == 3;
  }
  return reader->count > 0;
}

static void collect_keys(kin_aggregate_reader *reader, kin_slice message) {
  size_t key = 0, hash_key = 0;
  field next;
  while (message.len > 0) {
    kin_slice at = message;
    uint64_t tag;
    if (!take_field(&message, &next) || !take_varint(&at, &tag))
      return; /* cannot be: count_fields has read all of it */
    uint32_t offset = (uint32_t)(at.at - reader->start);
    if (next.number == 1)
      reader->keys[key++] = offset;
    else if (next.number == 2)
      reader->hash_keys[hash_key++] = offset;
  }
}

static bool check_records(kin_aggregate_reader *reader, kin_slice message) {
  kin_put record;
  field next;
  while (message.len > 0 && take_field(&message, &next))
    if (next.number == 3 && !read_record(reader, next.bytes, &record))
      return false;
  return true;
}

static bool is_framed(kin_md5 *md5, kin_slice bytes, kin_slice *message, bool *out_of_memory) {
  unsigned char digest[KIN_MD5];
  if (bytes.len <= KIN_AGGREGATE_FRAME || memcmp(bytes.at, magic, sizeof magic) != 0)
    return false;
  *message = (kin_slice){bytes.at + sizeof magic, bytes.len - KIN_AGGREGATE_FRAME};
  *out_of_memory = !kin_md5_digest(md5, message, 1, digest);
  return !*out_of_memory && memcmp(message->at + message->len, digest, KIN_MD5) == 0;
}

bool kin_aggregate_open(kin_aggregate_reader *reader, kin_md5 *md5, kin_slice bytes,
                        bool *out_of_memory) {
  kin_slice message;
  *reader = (kin_aggregate_reader){0};
  *out_of_memory = false;
  if (!is_framed(md5, bytes, &message, out_of_memory) || message.len > OFFSET_MASK ||
      !count_fields(reader, message)) {
    *reader = (kin_aggregate_reader){0}; /* what was counted before the mistake means nothing */
    return false;
  }
  reader->start = message.at;
  reader->keys = malloc((reader->key_count + 1) * sizeof *reader->keys);
  reader->hash_keys = malloc((reader->hash_key_count + 1) * sizeof *reader->hash_keys);
  *out_of_memory = !reader->keys || !reader->hash_keys;
  if (!*out_of_memory) {
    collect_keys(reader, message);
    if (check_records(reader, message)) {
      reader->message = message;
      return true;
    }
  }
  kin_aggregate_close(reader);
  return false;
}

void kin_aggregate_close(kin_aggregate_reader *reader) {
  free(reader->keys);
  free(reader->hash_keys);
  *reader = (kin_aggregate_reader){0};
}

bool kin_aggregate_next(kin_aggregate_reader *reader, kin_put *record) {
  field next;
  while (reader->message.len > 0 && take_field(&reader->message, &next))
    if (next.number == 3)
      return read_record(reader, next.bytes, record);
  return false;
}

/* ---- where records belong ---- */

static void note_place(uint32_t *number, bool outside) {
  *number |= outside ? is_judged | is_outside : is_judged;
}

/* That of the only shard of a stream. */
static bool is_whole(const kin_hash_range *range) {
  return range->first.high == 0 && range->first.low == 0 && range->last.high == UINT64_MAX &&
         range->last.low == UINT64_MAX;
}

/* The keys are hashed together with their neighbours in the table. */
static void judge_keys(kin_aggregate_reader *reader, size_t key, kin_md5 *md5,
                       const kin_hash_range *range) {
  size_t first = key - key % KIN_MD5_LANES, left = reader->key_count - first;
  size_t count = left < KIN_MD5_LANES ? left : KIN_MD5_LANES;
  kin_slice keys[KIN_MD5_LANES] = {{0}}, short_keys[KIN_MD5_LANES] = {{0}};
  kin_hash hashes[KIN_MD5_LANES];
  for (size_t i = 0; i < count; i++) {
    keys[i] = key_at(reader, reader->keys[first + i]);
    if (keys[i].len <= KIN_MD5_LANE_MAX)
      short_keys[i] = keys[i];
  }
  kin_md5_lanes(short_keys, hashes);
  for (size_t i = 0; i < count; i++) {
    bool known = keys[i].len <= KIN_MD5_LANE_MAX || kin_hash_key(md5, keys[i], &hashes[i]);
    note_place(&reader->keys[first + i], known && !kin_hash_is_in(hashes[i], range));
  }
}

static void judge_hash_key(uint32_t *number, kin_slice text, const kin_hash_range *range) {
  kin_hash hash;
  note_place(number, kin_hash_parse(text, &hash) && !kin_hash_is_in(hash, range));
}

bool kin_aggregate_is_outside(kin_aggregate_reader *reader, const kin_put *record, kin_md5 *md5,
                              const kin_hash_range *range) {
  if (is_whole(range))
    return false;
  bool chosen = record->explicit_hash_key.len > 0;
  uint32_t *number = chosen ? &reader->hash_keys[reader->hash_key] : &reader->keys[reader->key];
  if (*number & is_judged)
    return *number & is_outside;
  if (chosen)
    judge_hash_key(number, record->explicit_hash_key, range);
  else
    judge_keys(reader, reader->key, md5, range);
  return *number & is_outside;
}
