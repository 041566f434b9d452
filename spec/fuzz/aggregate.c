/* Reads any bytes as an aggregate, without and with a valid frame around them: slices point into
 * the bytes, the count is right, the records, written again, read the same, and each is outside of
 * a range when its own hash says so. */
#include "fuzz.h"
#include "wire/aggregate.h"

enum { BYTES_MAX = 1 << 22 };

static kin_md5 *md5;
static kin_aggregate writer;

static bool same(kin_slice one, kin_slice other) {
  return one.len == other.len && (one.len == 0 || memcmp(one.at, other.at, one.len) == 0);
}

/* Both aggregates have the same records. */
static void check_again(kin_slice bytes, kin_slice first) {
  kin_aggregate_reader reader, again;
  kin_put record, copy;
  bool out_of_memory;
  MUST(kin_aggregate_open(&reader, md5, first, &out_of_memory));
  MUST(kin_aggregate_open(&again, md5, bytes, &out_of_memory));
  MUST(again.count == reader.count);
  while (kin_aggregate_next(&reader, &record)) {
    MUST(kin_aggregate_next(&again, &copy));
    MUST(same(record.data, copy.data) && same(record.partition_key, copy.partition_key) &&
         same(record.explicit_hash_key, copy.explicit_hash_key));
  }
  MUST(!kin_aggregate_next(&again, &copy));
  kin_aggregate_close(&reader);
  kin_aggregate_close(&again);
}

/* The range is made of the first bytes: half of all ranges begin at 0. */
static kin_hash_range some_range(const kin_buf *buf) {
  kin_hash_range range = {{0, 0}, {UINT64_MAX, UINT64_MAX}};
  memcpy(&range, buf->at, buf->len < sizeof range ? buf->len : sizeof range);
  if (buf->len > sizeof range && buf->at[sizeof range] & 1)
    range.first = (kin_hash){0, 0};
  return range;
}

static void check_places(const kin_buf *buf) {
  kin_hash_range range = some_range(buf);
  kin_aggregate_reader reader;
  kin_put record;
  kin_hash hash;
  bool out_of_memory;
  if (!kin_aggregate_open(&reader, md5, kin_buf_slice(buf), &out_of_memory))
    return;
  while (kin_aggregate_next(&reader, &record)) {
    bool known = record.explicit_hash_key.len > 0 ? kin_hash_parse(record.explicit_hash_key, &hash)
                                                  : kin_hash_key(md5, record.partition_key, &hash);
    bool outside = known && !kin_hash_is_in(hash, &range);
    MUST(kin_aggregate_is_outside(&reader, &record, md5, &range) == outside);
  }
  kin_aggregate_close(&reader);
}

static void check(const kin_buf *buf) {
  kin_aggregate_reader reader;
  kin_slice bytes = kin_buf_slice(buf);
  kin_put record;
  size_t count = 0, growth = KIN_AGGREGATE_FRAME;
  bool out_of_memory;
  if (!kin_aggregate_open(&reader, md5, bytes, &out_of_memory)) {
    MUST(reader.count == 0 && !reader.keys && !reader.hash_keys);
    return;
  }
  kin_aggregate_clear(&writer);
  for (; kin_aggregate_next(&reader, &record); count++) {
    fuzz_inside(record.data, buf);
    fuzz_inside(record.partition_key, buf);
    fuzz_inside(record.explicit_hash_key, buf);
    growth += kin_aggregate_growth(&record);
    kin_aggregate_add(&writer, &record);
  }
  MUST(count == reader.count && !writer.failed);
  kin_aggregate_close(&reader);
  kin_buf out;
  kin_buf_init(&out, BYTES_MAX);
  MUST(kin_aggregate_write(&writer, md5, &out) && out.len <= growth);
  check_again(kin_buf_slice(&out), bytes);
  kin_buf_free(&out);
}

/* The bytes between the magic number and the digest. */
static kin_buf framed(const uint8_t *data, size_t size) {
  static const char magic[] = "\xf3\x89\x9a\xc2";
  unsigned char digest[KIN_MD5];
  kin_slice message = {(const char *)data, size};
  kin_buf buf;
  kin_buf_init(&buf, BYTES_MAX);
  MUST(kin_md5_digest(md5, &message, 1, digest));
  kin_buf_add(&buf, magic, 4);
  kin_buf_add(&buf, data, size);
  kin_buf_add(&buf, digest, sizeof digest);
  kin_buf exact = fuzz_copy((const uint8_t *)buf.at, buf.len); /* without spare capacity */
  kin_buf_free(&buf);
  return exact;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (!md5) {
    md5 = kin_md5_create();
    kin_aggregate_init(&writer, BYTES_MAX);
  }
  kin_buf plain = fuzz_copy(data, size), frame = framed(data, size);
  check(&plain);
  check(&frame);
  check_places(&frame);
  kin_buf_free(&plain);
  kin_buf_free(&frame);
  return 0;
}
