/* bytes: a slice (borrowed) and a buffer (owned, with a maximum size). One thread each. */
#ifndef KIN_BASE_BYTES_H
#define KIN_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Borrowed bytes: another structure owns `at`. Not terminated. */
typedef struct kin_slice {
  const char *at;
  size_t len;
} kin_slice;

#define KIN_SLICE(literal) ((kin_slice){(literal), sizeof(literal) - 1})

static inline kin_slice kin_slice_of(const char *text) {
  return (kin_slice){text, text ? strlen(text) : 0};
}

static inline bool kin_slice_is(kin_slice slice, const char *text) {
  return slice.len == strlen(text) && memcmp(slice.at, text, slice.len) == 0;
}

/* Whether it begins with this text of lower case: in ASCII, whatever the locale. */
static inline bool kin_slice_begins_with(kin_slice slice, const char *lower) {
  for (size_t i = 0; lower[i]; i++) {
    char c = i < slice.len ? slice.at[i] : '\0';
    if ((c >= 'A' && c <= 'Z' ? c + 32 : c) != lower[i])
      return false;
  }
  return true;
}

/* Copies into a fixed field of `size` bytes; truncates, always terminates. */
void kin_slice_copy(kin_slice slice, char *field, size_t size);

/* For tables in memory; the same in every process. */
uint64_t kin_slice_hash(kin_slice slice);

/* The order of bytes, as of memcmp. */
int kin_slice_compare(kin_slice a, kin_slice b);

/* An allocated, terminated copy; NULL: out of memory. */
char *kin_slice_dup(kin_slice slice);

/* Owns `at`. `failed` is set by an append that exceeds `max` or finds no memory (then
 * `out_of_memory`, too): the bytes are freed and later appends do nothing, so a writer checks once,
 * at the end. */
typedef struct kin_buf {
  char *at;
  size_t len;
  size_t capacity;
  size_t max;
  bool failed, out_of_memory;
} kin_buf;

void kin_buf_init(kin_buf *buf, size_t max);
void kin_buf_free(kin_buf *buf);

/* Sets the length to zero, keeps the memory. */
void kin_buf_clear(kin_buf *buf);

/* Space for `more` bytes after the last one; NULL: the buffer has failed. */
char *kin_buf_reserve(kin_buf *buf, size_t more);

/* Inline, because writers of bodies append a few bytes at a time, of constant length. */
static inline void kin_buf_add(kin_buf *buf, const void *bytes, size_t len) {
  if (len == 0 || !(len <= buf->capacity - buf->len || kin_buf_reserve(buf, len)))
    return;
  memcpy(buf->at + buf->len, bytes, len);
  buf->len += len;
}

static inline void kin_buf_add_text(kin_buf *buf, const char *text) {
  kin_buf_add(buf, text, strlen(text));
}

static inline void kin_buf_add_slice(kin_buf *buf, kin_slice slice) {
  kin_buf_add(buf, slice.at, slice.len);
}

static inline kin_slice kin_buf_slice(const kin_buf *buf) {
  return (kin_slice){buf->at, buf->len};
}

/* The bytes with a terminator (not counted in len); NULL: the buffer has failed. */
const char *kin_buf_text(kin_buf *buf);

#endif
