#include "wire/md5_lanes.h"

enum { BLOCK = 64, WORDS = BLOCK / 4, LENGTH_AT = 56 };

/* One word of each lane. */
typedef uint32_t lanes __attribute__((vector_size(4 * KIN_MD5_LANES)));

/* 2^32 |sin i| for i from 1 on. */
static const uint32_t sines[BLOCK] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
};

/* The key, a set bit, zeros, and the key's length in bits. */
static void pad(kin_slice key, unsigned char block[BLOCK]) {
  memset(block, 0, BLOCK);
  if (key.len > 0)
    memcpy(block, key.at, key.len);
  block[key.len] = 0x80;
  block[LENGTH_AT] = (unsigned char)(8 * key.len);
  block[LENGTH_AT + 1] = (unsigned char)(8 * key.len >> 8);
}

static uint32_t little_endian(const unsigned char *at) {
  return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static void fill(const kin_slice keys[KIN_MD5_LANES], lanes message[WORDS]) {
  uint32_t words[WORDS][KIN_MD5_LANES];
  unsigned char block[BLOCK];
  for (int lane = 0; lane < KIN_MD5_LANES; lane++) {
    pad(keys[lane], block);
    for (int word = 0; word < WORDS; word++)
      words[word][lane] = little_endian(block + 4 * word);
  }
  memcpy(message, words, sizeof words);
}

/* Sixteen steps with the same function; a macro, so that all is unrolled. */
#define ROUND(round, function, factor, offset, r0, r1, r2, r3)                                     \
  _Pragma("GCC unroll 16") for (int i = 0; i < 16; i++) {                                          \
    const int turns[] = {r0, r1, r2, r3}, by = turns[i & 3];                                       \
    lanes sum = a + (function) + message[(factor * i + offset) & 15] + sines[16 * round + i];      \
    a = d;                                                                                         \
    d = c;                                                                                         \
    c = b;                                                                                         \
    b += sum << by | sum >> (32 - by);                                                             \
  }

void kin_md5_lanes(const kin_slice keys[KIN_MD5_LANES], kin_hash hashes[KIN_MD5_LANES]) {
  const lanes none = {0}, a0 = none + 0x67452301, b0 = none + 0xefcdab89, c0 = none + 0x98badcfe,
              d0 = none + 0x10325476;
  lanes a = a0, b = b0, c = c0, d = d0, message[WORDS];
  fill(keys, message);
  ROUND(0, d ^ (b & (c ^ d)), 1, 0, 7, 12, 17, 22)
  ROUND(1, c ^ (d & (b ^ c)), 5, 1, 5, 9, 14, 20)
  ROUND(2, b ^ c ^ d, 3, 5, 4, 11, 16, 23)
  ROUND(3, c ^ (b | ~d), 7, 0, 6, 10, 15, 21)
  a += a0, b += b0, c += c0, d += d0;
  for (int lane = 0; lane < KIN_MD5_LANES; lane++)
    hashes[lane] = (kin_hash){
        (uint64_t)__builtin_bswap32(a[lane]) << 32 | __builtin_bswap32(b[lane]),
        (uint64_t)__builtin_bswap32(c[lane]) << 32 | __builtin_bswap32(d[lane]),
    };
}
