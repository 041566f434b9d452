#include "wire/base64.h"

#include <stdint.h>

#include "base/openssl.h"

/* Sixteen characters at a time on processors with SSSE3: W. Muła and D. Lemire, "Faster Base64
 * Encoding and Decoding Using AVX2 Instructions" (2018), in its 128-bit form. Plain code for other
 * processors and for the rest of a text. */
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define HAS_SSSE3 __builtin_cpu_supports("ssse3")

/* Encodes twelve bytes at a time, while sixteen can be read. */
__attribute__((target("ssse3"))) static size_t encode_fast(const char *in, size_t len, char *out) {
  const __m128i spread = _mm_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10);
  const __m128i letters =
      _mm_setr_epi8('a' - 26, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52,
                    '0' - 52, '0' - 52, '0' - 52, '+' - 62, '/' - 63, 'A', 0, 0);
  size_t done = 0;
  for (; len - done >= 16; done += 12, out += 16) {
    __m128i bytes = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(in + done)), spread);
    __m128i high = _mm_mulhi_epu16(_mm_and_si128(bytes, _mm_set1_epi32(0x0fc0fc00)),
                                   _mm_set1_epi32(0x04000040));
    __m128i low = _mm_mullo_epi16(_mm_and_si128(bytes, _mm_set1_epi32(0x003f03f0)),
                                  _mm_set1_epi32(0x01000010));
    __m128i digits = _mm_or_si128(high, low);
    /* 0 for a-z, 1 to 12 for the rest, 13 for A-Z: which letter its range starts from */
    __m128i range = _mm_subs_epu8(digits, _mm_set1_epi8(51));
    __m128i upper = _mm_cmpgt_epi8(_mm_set1_epi8(26), digits);
    range = _mm_or_si128(range, _mm_and_si128(upper, _mm_set1_epi8(13)));
    __m128i text = _mm_add_epi8(_mm_shuffle_epi8(letters, range), digits);
    _mm_storeu_si128((__m128i *)out, text);
  }
  return done;
}

/* Stops at the first sixteen characters that are not all digits. Works in place: the sixteen bytes
 * it writes for twelve end before the next character to read. */
__attribute__((target("ssse3"))) static size_t decode_fast(const uint8_t *in, size_t len,
                                                           uint8_t *out) {
  const __m128i low_bits = _mm_setr_epi8(0x15, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
                                         0x13, 0x1a, 0x1b, 0x1b, 0x1b, 0x1a);
  const __m128i high_bits = _mm_setr_epi8(0x10, 0x10, 0x01, 0x02, 0x04, 0x08, 0x04, 0x08, 0x10,
                                          0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10);
  const __m128i shift = _mm_setr_epi8(0, 16, 19, 4, -65, -65, -71, -71, 0, 0, 0, 0, 0, 0, 0, 0);
  const __m128i pack = _mm_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1);
  const __m128i slash = _mm_set1_epi8('/');
  size_t done = 0;
  for (; len - done >= 16; done += 16, out += 12) {
    __m128i text = _mm_loadu_si128((const __m128i *)(in + done));
    __m128i high = _mm_and_si128(_mm_srli_epi32(text, 4), slash); /* '/' is 0x2f, a nibble's mask */
    __m128i low = _mm_and_si128(text, slash);
    __m128i wrong =
        _mm_and_si128(_mm_shuffle_epi8(low_bits, low), _mm_shuffle_epi8(high_bits, high));
    if (_mm_movemask_epi8(_mm_cmpeq_epi8(wrong, _mm_setzero_si128())) != 0xffff)
      break;
    __m128i range = _mm_add_epi8(_mm_cmpeq_epi8(text, slash), high);
    __m128i digits = _mm_add_epi8(text, _mm_shuffle_epi8(shift, range));
    __m128i pairs = _mm_maddubs_epi16(digits, _mm_set1_epi32(0x01400140));
    __m128i triples = _mm_madd_epi16(pairs, _mm_set1_epi32(0x00011000));
    _mm_storeu_si128((__m128i *)out, _mm_shuffle_epi8(triples, pack));
  }
  return done;
}
#else
#define HAS_SSSE3 false
static size_t encode_fast(const char *in, size_t len, char *out) {
  (void)in, (void)len, (void)out;
  return 0;
}
static size_t decode_fast(const uint8_t *in, size_t len, uint8_t *out) {
  (void)in, (void)len, (void)out;
  return 0;
}
#endif

/* EVP_EncodeBlock takes an int; a multiple of three keeps padding out of the middle. */
enum { ENCODE_STEP = 3 << 20 };

void kin_base64_add(kin_buf *out, kin_slice bytes) {
  if (HAS_SSSE3) {
    char *at = kin_buf_reserve(out, KIN_BASE64_LENGTH(bytes.len) + 1);
    size_t done = at ? encode_fast(bytes.at, bytes.len, at) : bytes.len;
    out->len += at ? done / 3 * 4 : 0;
    bytes.at += done;
    bytes.len -= done;
  }
  while (bytes.len > 0) {
    size_t step = bytes.len < ENCODE_STEP ? bytes.len : ENCODE_STEP;
    char *at = kin_buf_reserve(out, KIN_BASE64_LENGTH(step) + 1); /* it writes a terminator */
    if (!at)
      return;
    out->len +=
        (size_t)EVP_EncodeBlock((unsigned char *)at, (const unsigned char *)bytes.at, (int)step);
    bytes.at += step;
    bytes.len -= step;
  }
}

/* 64: not a digit. OpenSSL's decoder is not specified to work in place, and accepts blanks. */
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
  if (len % 4 != 0)
    return false;
  size_t padding = 0;
  if (len > 0 && in[len - 1] == '=')
    padding = in[len - 2] == '=' ? 2 : 1;
  const uint8_t *end = in + len - (padding ? 4 : 0);
  uint8_t wrong = 0;
  if (HAS_SSSE3) {
    size_t done = decode_fast(in, (size_t)(end - in), out);
    in += done;
    out += done / 4 * 3;
  }
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
    if (padding == 1)
      *out++ = (uint8_t)(b << 4 | c >> 2);
    if ((padding == 1 ? c << 6 : b << 4) & 0xff)
      return false; /* bits after the last byte are set */
  }
  *decoded = (kin_slice){at, (size_t)((char *)out - at)};
  return !(wrong & 64);
}
