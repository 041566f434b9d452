#include "wire/eventstream.h"

#include <stdint.h>

enum { PRELUDE = 12, CHECKSUM = 4, FRAME_MIN = PRELUDE + CHECKSUM };

static uint32_t read32(const char *at) {
  const unsigned char *bytes = (const unsigned char *)at;
  return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* CRC-32 of IEEE 802.3, four bits at a time, which needs a table of 64 bytes only. */
static uint32_t checksum(const char *bytes, size_t len) {
  static const uint32_t table[16] = {
      0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
      0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
      0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
  };
  uint32_t sum = 0xffffffff;
  for (size_t i = 0; i < len; i++) {
    sum ^= (unsigned char)bytes[i];
    sum = sum >> 4 ^ table[sum & 15];
    sum = sum >> 4 ^ table[sum & 15];
  }
  return ~sum;
}

/* The length of a header's value of that type at `at`; -1: malformed. */
static int64_t value_len(int type, const char *at, const char *end) {
  static const signed char fixed[] = {0, 0, 1, 2, 4, 8, -1, -1, 8, 16};
  if (type < 0 || type > 9)
    return -1;
  if (fixed[type] >= 0)
    return fixed[type] <= end - at ? fixed[type] : -1;
  if (end - at < 2)
    return -1;
  int64_t len = (unsigned char)at[0] << 8 | (unsigned char)at[1];
  return len <= end - at - 2 ? len : -1;
}

static void set_header(kin_frame *frame, kin_slice name, kin_slice value) {
  if (kin_slice_is(name, ":message-type"))
    frame->kind = value;
  else if (kin_slice_is(name, ":event-type") || kin_slice_is(name, ":exception-type") ||
           kin_slice_is(name, ":error-code"))
    frame->name = value;
  else if (kin_slice_is(name, ":error-message"))
    frame->message = value;
}

static bool read_headers(const char *at, const char *end, kin_frame *frame) {
  enum { BYTES = 6, TEXT = 7 };
  while (at < end) {
    size_t name_len = (unsigned char)*at++;
    if (name_len == 0 || (size_t)(end - at) < name_len + 1)
      return false;
    kin_slice name = {at, name_len};
    at += name_len;
    int type = (unsigned char)*at++;
    int64_t len = value_len(type, at, end);
    if (len < 0)
      return false;
    if (type == BYTES || type == TEXT)
      at += 2;
    if (type == TEXT)
      set_header(frame, name, (kin_slice){at, (size_t)len});
    at += len;
  }
  return true;
}

kin_frame_state kin_eventstream_read(kin_slice bytes, size_t max, kin_frame *frame, size_t *used) {
  *frame = (kin_frame){0};
  if (bytes.len < PRELUDE)
    return KIN_FRAME_PARTIAL;
  size_t total = read32(bytes.at), headers = read32(bytes.at + 4);
  if (read32(bytes.at + 8) != checksum(bytes.at, 8) || total < FRAME_MIN || total > max ||
      headers > total - FRAME_MIN)
    return KIN_FRAME_BROKEN;
  if (bytes.len < total)
    return KIN_FRAME_PARTIAL;
  const char *end = bytes.at + total - CHECKSUM, *payload = bytes.at + PRELUDE + headers;
  if (read32(end) != checksum(bytes.at, total - CHECKSUM) ||
      !read_headers(bytes.at + PRELUDE, payload, frame))
    return KIN_FRAME_BROKEN;
  frame->payload = (kin_slice){payload, (size_t)(end - payload)};
  *used = total;
  return KIN_FRAME_WHOLE;
}
