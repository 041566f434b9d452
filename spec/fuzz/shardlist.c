/* Reads any response of ListShards or DescribeStreamSummary: it is refused as a whole, or ranges
 * are ordered, ids point into the response, and numbers are within their limits. */
#include "fuzz.h"
#include "wire/list_shards.h"

static bool check_listed(void *context, const kin_listed_shard *shard) {
  const kin_hash_range *range = &shard->range;
  char text[KIN_HASH_TEXT];
  kin_hash again;
  MUST(shard->id.len > 0 && kin_hash_compare(range->first, range->last) <= 0);
  fuzz_inside(shard->id, context);
  fuzz_inside(shard->parents[0], context);
  fuzz_inside(shard->parents[1], context);
  MUST(kin_hash_parse((kin_slice){text, kin_hash_format(range->last, text)}, &again));
  MUST(kin_hash_compare(range->last, again) == 0);
  return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  kin_buf all = fuzz_copy(data, size);
  kin_buf summary_text = fuzz_copy(data, size);
  kin_stream_summary summary;
  kin_slice token;
  if (kin_list_all_shards_read(all.at, all.len, check_listed, &all, &token))
    fuzz_inside(token, &all);
  if (kin_stream_summary_read(summary_text.at, summary_text.len, &summary))
    MUST(summary.max_record_size >= KIN_STREAM_RECORD_MAX &&
         summary.max_record_size <= 10 * KIN_STREAM_RECORD_MAX);
  kin_buf_free(&all);
  kin_buf_free(&summary_text);
  return 0;
}
