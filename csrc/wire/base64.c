#include "wire/base64.h"

#include <openssl/evp.h>
#include <stdint.h>

/* EVP_EncodeBlock takes an int; a multiple of three keeps padding out of the middle. */
enum { ENCODE_STEP = 3 << 20 };

void kin_base64_add(kin_buf *out, kin_slice bytes) {
  while (bytes.len > 0) {
    size_t step = bytes.len < ENCODE_STEP ? bytes.len : ENCODE_STEP;
    char *at = kin_buf_reserve(out, KIN_BASE64_LENGTH(step) + 1); /* it writes a terminator */
    if (!at) return;
    out->len +=
        (size_t)EVP_EncodeBlock((unsigned char *)at, (const unsigned char *)bytes.at, (int)step);
    bytes.at += step;
    bytes.len -= step;
  }
}

/* 64: no digit. OpenSSL's decoder neither promises to work in place nor refuses stray blanks. */
static const uint8_t digit[256] = {
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 62, 64, 64, 64, 63,
    52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 64, 64, 64, 64, 64, 64, 64, 0,  1,  2,  3,  4,  5,  6,
    7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 64, 64, 64, 64, 64,
    64, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48,
    49, 50, 51, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
};

bool kin_base64_decode(char *at, kin_slice *decoded, size_t len) {
  const uint8_t *in = (const uint8_t *)at;
  uint8_t *out = (uint8_t *)at;
  if (len % 4 != 0) return false;
  size_t padding = 0;
  if (len > 0 && in[len - 1] == '=') padding = in[len - 2] == '=' ? 2 : 1;
  const uint8_t *end = in + len - (padding ? 4 : 0);
  uint8_t wrong = 0;
  for (; in < end; in += 4) {
    uint8_t a = digit[in[0]], b = digit[in[1]], c = digit[in[2]], d = digit[in[3]];
    wrong |= a | b | c | d;
    *out++ = (uint8_t)(a << 2 | b >> 4);
    *out++ = (uint8_t)(b << 4 | c >> 2);
    *out++ = (uint8_t)(c << 6 | d);
  }
  if (padding) {
    uint8_t a = digit[in[0]], b = digit[in[1]], c = padding == 1 ? digit[in[2]] : 0;
    wrong |= a | b | c;
    *out++ = (uint8_t)(a << 2 | b >> 4);
    if (padding == 1) *out++ = (uint8_t)(b << 4 | c >> 2);
    if ((padding == 1 ? c << 6 : b << 4) & 0xff) return false; /* bits beyond the last byte */
  }
  *decoded = (kin_slice){at, (size_t)((char *)out - at)};
  return !(wrong & 64);
}
