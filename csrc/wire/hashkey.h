/* hashkey: 128-bit hash keys, and the MD5 that maps partition keys to them.
 * https://docs.aws.amazon.com/kinesis/latest/APIReference/API_HashKeyRange.html */
#ifndef KIN_WIRE_HASHKEY_H
#define KIN_WIRE_HASHKEY_H

#include <stdint.h>

#include "base/bytes.h"

enum { KIN_MD5 = 16, KIN_HASH_TEXT = 40 };

typedef struct kin_hash {
  uint64_t high, low;
} kin_hash;

static inline int kin_hash_compare(kin_hash one, kin_hash other) {
  if (one.high != other.high)
    return one.high < other.high ? -1 : 1;
  return (one.low > other.low) - (one.low < other.low);
}

/* False: the text is not a decimal number below 2^128. */
bool kin_hash_parse(kin_slice decimal, kin_hash *hash);

/* The hash keys of a shard, from the first to the last. */
typedef struct kin_hash_range {
  kin_hash first, last;
} kin_hash_range;

static inline bool kin_hash_is_in(kin_hash hash, const kin_hash_range *range) {
  return kin_hash_compare(hash, range->first) >= 0 && kin_hash_compare(hash, range->last) <= 0;
}

/* False: they are not two decimal numbers below 2^128, or in the wrong order. */
bool kin_hash_range_parse(kin_slice first, kin_slice last, kin_hash_range *range);

/* Writes the decimal number, terminated; returns its length. */
size_t kin_hash_format(kin_hash hash, char text[KIN_HASH_TEXT]);

/* MD5 as the service and the KPL use it, not for security. One thread. */
typedef struct kin_md5 kin_md5;

/* NULL: out of memory, or OpenSSL has no MD5. */
kin_md5 *kin_md5_create(void);
void kin_md5_free(kin_md5 *md5);

/* The digest of concatenated slices. False: memory is out, as OpenSSL allocates some. */
bool kin_md5_digest(kin_md5 *md5, const kin_slice *runs, size_t count, unsigned char out[KIN_MD5]);

/* The hash key of a partition key. False: memory is out. */
bool kin_hash_key(kin_md5 *md5, kin_slice partition_key, kin_hash *hash);

#endif
