#include "producer/record.h"

#include <stdlib.h>

#include "producer/attempt.h"

static size_t stored_offset(size_t bytes) {
  size_t align = _Alignof(kin_stored);
  return (sizeof(kin_user_record) + bytes + align - 1) / align * align;
}

static size_t size_of(size_t bytes, bool receipt) {
  size_t size = stored_offset(bytes) + (receipt ? sizeof(kin_stored) : 0);
  return (size + KIN_RECORD_STEP - 1) / KIN_RECORD_STEP * KIN_RECORD_STEP;
}

size_t kin_user_record_size_for(const kin_put *put, bool receipt) {
  return size_of(put->data.len + put->partition_key.len + put->explicit_hash_key.len, receipt);
}

size_t kin_user_record_size(const kin_user_record *record) {
  return size_of((size_t)record->data_len + record->key_len + record->hash_key_len,
                 record->stored != NULL);
}

static char *append(char *at, kin_slice slice) {
  if (slice.len > 0)
    memcpy(at, slice.at, slice.len);
  return at + slice.len;
}

kin_user_record *kin_user_record_init(void *memory, const kin_put *put, bool receipt) {
  size_t bytes = put->data.len + put->partition_key.len + put->explicit_hash_key.len;
  kin_user_record *record = memory;
  *record = (kin_user_record){
      .data_len = (uint32_t)put->data.len,
      .key_len = (uint16_t)put->partition_key.len,
      .hash_key_len = (uint16_t)put->explicit_hash_key.len,
  };
  append(append(append(record->bytes, put->data), put->partition_key), put->explicit_hash_key);
  if (receipt) {
    record->stored = (kin_stored *)((char *)record + stored_offset(bytes));
    memset(record->stored, 0, sizeof *record->stored);
  }
  return record;
}

void kin_user_record_free(kin_user_record *record) {
  kin_attempt_release(record->attempts);
  free(record);
}

kin_put kin_user_record_put(const kin_user_record *record) {
  const char *key = record->bytes + record->data_len;
  return (kin_put){
      .data = {record->bytes, record->data_len},
      .partition_key = {key, record->key_len},
      .explicit_hash_key = {key + record->key_len, record->hash_key_len},
  };
}

/* ---- lists ---- */

void kin_record_list_add(kin_record_list *list, kin_user_record *record) {
  record->next = NULL;
  *(list->last ? &list->last->next : &list->first) = record;
  list->last = record;
  list->count++;
  list->bytes += kin_user_record_bytes(record);
}

kin_user_record *kin_record_list_take(kin_record_list *list) {
  kin_user_record *record = list->first;
  if (!record)
    return NULL;
  list->first = record->next;
  if (!list->first)
    list->last = NULL;
  list->count--;
  list->bytes -= kin_user_record_bytes(record);
  return record;
}

void kin_record_list_append(kin_record_list *list, kin_record_list *other) {
  if (!other->first)
    return;
  *(list->last ? &list->last->next : &list->first) = other->first;
  list->last = other->last;
  list->count += other->count;
  list->bytes += other->bytes;
  *other = (kin_record_list){0};
}

void kin_record_list_merge(kin_record_list *list, kin_record_list *other) {
  if (!other->first)
    return;
  if (!list->first || list->last->serial < other->first->serial) {
    kin_record_list_append(list, other);
    return;
  }
  kin_record_list merged = {.count = list->count + other->count,
                            .bytes = list->bytes + other->bytes};
  kin_user_record *one = list->first, *two = other->first, **link = &merged.first;
  while (one && two) {
    kin_user_record **less = one->serial < two->serial ? &one : &two;
    *link = *less;
    link = &(*link)->next;
    *less = *link;
  }
  *link = one ? one : two;
  merged.last = one ? list->last : other->last;
  *list = merged;
  *other = (kin_record_list){0};
}

void kin_record_list_free(kin_record_list *list) {
  kin_user_record *record;
  while ((record = kin_record_list_take(list)))
    kin_user_record_free(record);
}
