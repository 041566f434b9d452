#include "base/bytes.h"

#include <stdlib.h>

enum { FIRST_CAPACITY = 256 };

void kin_slice_copy(kin_slice slice, char *field, size_t size) {
  size_t len = slice.len < size ? slice.len : size - 1;
  if (len > 0)
    memcpy(field, slice.at, len);
  field[len] = '\0';
}

/* FNV-1a */
uint64_t kin_slice_hash(kin_slice slice) {
  uint64_t value = 14695981039346656037u;
  for (size_t i = 0; i < slice.len; i++)
    value = (value ^ (unsigned char)slice.at[i]) * 1099511628211u;
  return value;
}

int kin_slice_compare(kin_slice a, kin_slice b) {
  size_t len = a.len < b.len ? a.len : b.len;
  int order = len > 0 ? memcmp(a.at, b.at, len) : 0;
  return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

char *kin_slice_dup(kin_slice slice) {
  char *copy = malloc(slice.len + 1);
  if (copy)
    kin_slice_copy(slice, copy, slice.len + 1);
  return copy;
}

void kin_buf_init(kin_buf *buf, size_t max) {
  *buf = (kin_buf){.max = max};
}

void kin_buf_free(kin_buf *buf) {
  free(buf->at);
  buf->at = NULL;
  buf->len = buf->capacity = 0;
}

void kin_buf_clear(kin_buf *buf) {
  buf->len = 0;
  buf->failed = buf->out_of_memory = false;
}

static char *fail(kin_buf *buf) {
  kin_buf_free(buf);
  buf->failed = true;
  return NULL;
}

char *kin_buf_reserve(kin_buf *buf, size_t more) {
  if (buf->failed)
    return NULL;
  if (more <= buf->capacity - buf->len && buf->at)
    return buf->at + buf->len;
  if (more > buf->max - buf->len)
    return fail(buf);
  size_t need = buf->len + more;
  size_t capacity = buf->capacity ? buf->capacity * 2 : FIRST_CAPACITY;
  if (capacity < need)
    capacity = need;
  if (capacity > buf->max)
    capacity = buf->max;
  char *at = realloc(buf->at, capacity ? capacity : 1);
  if (!at) {
    buf->out_of_memory = true;
    return fail(buf);
  }
  buf->at = at;
  buf->capacity = capacity;
  return at + buf->len;
}

const char *kin_buf_text(kin_buf *buf) {
  char *at = kin_buf_reserve(buf, 1);
  if (at)
    *at = '\0';
  return buf->at;
}
