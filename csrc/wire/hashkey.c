#include "wire/hashkey.h"

#include <stdlib.h>

#include "base/openssl.h"

/* ---- 128 bits ---- */

/* hash * 10 + digit; false: overflow. */
static bool append_digit(kin_hash *hash, unsigned digit) {
  uint64_t low = (hash->low & 0xffffffff) * 10 + digit;
  uint64_t middle = (hash->low >> 32) * 10 + (low >> 32);
  uint64_t high = (hash->high & 0xffffffff) * 10 + (middle >> 32);
  uint64_t top = (hash->high >> 32) * 10 + (high >> 32);
  hash->low = middle << 32 | (low & 0xffffffff);
  hash->high = top << 32 | (high & 0xffffffff);
  return top >> 32 == 0;
}

bool kin_hash_parse(kin_slice decimal, kin_hash *hash) {
  *hash = (kin_hash){0, 0};
  if (decimal.len == 0 || decimal.len >= KIN_HASH_TEXT)
    return false;
  for (size_t i = 0; i < decimal.len; i++)
    if (decimal.at[i] < '0' || decimal.at[i] > '9' ||
        !append_digit(hash, (unsigned)(decimal.at[i] - '0')))
      return false;
  return true;
}

bool kin_hash_range_parse(kin_slice first, kin_slice last, kin_hash_range *range) {
  return kin_hash_parse(first, &range->first) && kin_hash_parse(last, &range->last) &&
         kin_hash_compare(range->first, range->last) <= 0;
}

/* Divides by ten; returns the remainder. */
static unsigned take_digit(kin_hash *hash) {
  uint32_t parts[] = {(uint32_t)(hash->high >> 32), (uint32_t)hash->high,
                      (uint32_t)(hash->low >> 32), (uint32_t)hash->low};
  uint64_t rest = 0;
  for (int i = 0; i < 4; i++) {
    rest = rest << 32 | parts[i];
    parts[i] = (uint32_t)(rest / 10);
    rest %= 10;
  }
  *hash = (kin_hash){(uint64_t)parts[0] << 32 | parts[1], (uint64_t)parts[2] << 32 | parts[3]};
  return (unsigned)rest;
}

size_t kin_hash_format(kin_hash hash, char text[KIN_HASH_TEXT]) {
  char digits[KIN_HASH_TEXT];
  size_t count = 0;
  do
    digits[count++] = (char)('0' + take_digit(&hash));
  while (hash.high > 0 || hash.low > 0);
  for (size_t i = 0; i < count; i++)
    text[i] = digits[count - 1 - i];
  text[count] = '\0';
  return count;
}

/* ---- MD5 ---- */

struct kin_md5 {
  EVP_MD *md5; /* fetched once: looking it up costs more than a digest */
  EVP_MD_CTX *digest;
};

kin_md5 *kin_md5_create(void) {
  kin_md5 *md5 = calloc(1, sizeof *md5);
  if (!md5)
    return NULL;
  md5->md5 = EVP_MD_fetch(NULL, "MD5", "?fips=no"); /* not used for security */
  md5->digest = EVP_MD_CTX_new();
  if (md5->md5 && md5->digest)
    return md5;
  kin_md5_free(md5);
  return NULL;
}

void kin_md5_free(kin_md5 *md5) {
  if (!md5)
    return;
  EVP_MD_CTX_free(md5->digest);
  EVP_MD_free(md5->md5);
  free(md5);
}

bool kin_md5_digest(kin_md5 *md5, const kin_slice *runs, size_t count, unsigned char out[KIN_MD5]) {
  bool good = EVP_DigestInit_ex2(md5->digest, md5->md5, NULL) == 1;
  for (size_t i = 0; i < count && good; i++)
    good = EVP_DigestUpdate(md5->digest, runs[i].at, runs[i].len) == 1;
  return good && EVP_DigestFinal_ex(md5->digest, out, NULL) == 1;
}

static uint64_t read_big_endian(const unsigned char *at) {
  uint64_t value = 0;
  for (int i = 0; i < 8; i++)
    value = value << 8 | at[i];
  return value;
}

bool kin_hash_key(kin_md5 *md5, kin_slice partition_key, kin_hash *hash) {
  unsigned char digest[KIN_MD5];
  if (!kin_md5_digest(md5, &partition_key, 1, digest))
    return false;
  *hash = (kin_hash){read_big_endian(digest), read_big_endian(digest + 8)};
  return true;
}
