/* Reads any response of PutRecords or PutRecord; the first byte is the number of records of the
 * request. The response is refused as a whole, or each result is complete and points into it. */
#include "fuzz.h"
#include "wire/put_records.h"

static void check_result(const kin_put_result *result, const kin_buf *buf) {
  MUST(result->code.len > 0 || (result->shard_id.len > 0 && result->sequence_number.len > 0));
  fuzz_inside(result->shard_id, buf);
  fuzz_inside(result->sequence_number, buf);
  fuzz_inside(result->code, buf);
  fuzz_inside(result->message, buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0)
    return 0;
  size_t count = data[0] % 8;
  kin_buf many = fuzz_copy(data + 1, size - 1), one = fuzz_copy(data + 1, size - 1);
  kin_put_result results[8];
  kin_slice encryption;
  if (kin_put_records_read(many.at, many.len, results, count, &encryption)) {
    fuzz_inside(encryption, &many);
    for (size_t i = 0; i < count; i++)
      check_result(&results[i], &many);
  }
  if (kin_put_record_read(one.at, one.len, results, &encryption)) {
    MUST(results[0].code.len == 0);
    check_result(results, &one);
    fuzz_inside(encryption, &one);
  }
  kin_buf_free(&many);
  kin_buf_free(&one);
  return 0;
}
