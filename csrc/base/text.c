#include "base/text.h"

/* The text may hold this much of a secret before it is masked. */
enum { PART_MIN = 16 };

static const char mask[] = "***", cut[] = "…";

size_t kin_text_character(kin_slice text, uint32_t *code) {
  const unsigned char *at = (const unsigned char *)text.at;
  if (text.len == 0)
    return 0;
  size_t more = at[0] < 0x80                    ? 0
                : at[0] >= 0xc2 && at[0] < 0xe0 ? 1
                : at[0] >= 0xe0 && at[0] < 0xf0 ? 2
                : at[0] >= 0xf0 && at[0] < 0xf5 ? 3
                                                : text.len;
  if (more >= text.len)
    return 0;
  *code = more == 0 ? at[0] : at[0] & (0x3fu >> more);
  for (size_t i = 1; i <= more; i++) {
    if ((at[i] & 0xc0) != 0x80)
      return 0;
    *code = *code << 6 | (at[i] & 0x3fu);
  }
  if ((more == 2 && (*code < 0x800 || (*code >= 0xd800 && *code < 0xe000))) ||
      (more == 3 && (*code < 0x10000 || *code > 0x10ffff)))
    return 0;
  return more + 1;
}

size_t kin_text_clean(char *at, size_t len) {
  char *out = at;
  for (size_t i = 0, bytes; i < len; i += bytes) {
    uint32_t code = 0;
    bytes = kin_text_character((kin_slice){at + i, len - i}, &code);
    if (bytes == 0 || code < 0x20 || (code >= 0x7f && code < 0xa0)) {
      *out++ = bytes == 0 ? '?' : ' ';
      bytes = bytes == 0 ? 1 : bytes;
      continue;
    }
    memmove(out, at + i, bytes);
    out += bytes;
  }
  return (size_t)(out - at);
}

void kin_text_clean_field(char *field) {
  field[kin_text_clean(field, strlen(field))] = '\0';
}

/* How much of `text` is the start of the secret, whose slashes JSON may have escaped; *matched:
 * that start, in bytes of the secret. */
static size_t match(kin_slice text, const char *secret, size_t *matched) {
  size_t used = 0, i = 0;
  while (secret[i] && used < text.len) {
    size_t escaped = secret[i] == '/' && text.at[used] == '\\' && used + 1 < text.len;
    if (text.at[used + escaped] != secret[i])
      break;
    used += escaped + 1;
    i++;
  }
  *matched = i;
  return used;
}

size_t kin_text_mask(char *at, size_t len, const char *secret) {
  size_t least = secret ? strlen(secret) : 0, out = 0;
  if (least < KIN_TEXT_SECRET_MIN)
    return len;
  if (least > PART_MIN)
    least = PART_MIN;
  for (size_t i = 0; i < len;) {
    size_t matched = 0;
    size_t used = at[i] == secret[0] ? match((kin_slice){at + i, len - i}, secret, &matched) : 0;
    if (matched >= least) {
      memcpy(at + out, mask, sizeof mask - 1);
      out += sizeof mask - 1;
      i += used;
    } else {
      at[out++] = at[i++];
    }
  }
  return out;
}

void kin_text_end(char *field, size_t size, size_t len) {
  if (len >= size) {
    len = size - sizeof cut;
    while (len > 0 && (field[len] & 0xc0) == 0x80)
      len--;
    memcpy(field + len, cut, sizeof cut - 1);
    len += sizeof cut - 1;
  }
  field[kin_text_clean(field, len)] = '\0';
}
