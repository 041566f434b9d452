/* Reads any response of DynamoDB: it is refused, or its rows are JSON, which can be written again
 * as requests that are JSON; none of it is changed. */
#include "fuzz.h"
#include "wire/dynamo.h"

static const kin_dynamo_stream one = {{"r:s:", 4}, {NULL, 0}}, many = {{"r:s:", 4}, {"1:s:2", 5}};

static bool is_json(kin_slice text) {
  kin_json json = kin_json_look(text);
  return kin_json_skip(&json) && kin_json_done(&json);
}

/* What is written of a row; it may be refused: a counter may be a text. */
static void write_again(const kin_dynamo_table *table, kin_slice key, kin_slice row) {
  kin_buf out;
  kin_buf_init(&out, 64 << 20);
  if (kin_dynamo_put_build(&out, table, key, row))
    MUST(out.failed || is_json(kin_buf_slice(&out)));
  kin_buf_clear(&out);
  if (kin_dynamo_update_build(&out, table, key, KIN_SLICE("\"me\""), 7, row))
    MUST(out.failed || is_json(kin_buf_slice(&out)));
  kin_buf_free(&out);
}

static void check_rows(const kin_dynamo_table *table, kin_buf *rows) {
  kin_json json = kin_json_look(kin_buf_slice(rows));
  kin_slice key, row;
  MUST(is_json(kin_buf_slice(rows)));
  for (kin_json_object(&json); kin_json_key(&json, &key);) {
    MUST(kin_json_raw(&json, &row));
    write_again(table, key, row);
  }
}

static void check(const kin_dynamo_stream *stream, const uint8_t *data, size_t size) {
  kin_dynamo_table table = {KIN_SLICE("leases"), stream, 1, false};
  kin_buf text = fuzz_copy(data, size), out;
  kin_slice after;
  kin_dynamo_fit fit;
  kin_buf_init(&out, 64 << 20);
  kin_buf_add_text(&out, "{");
  if (kin_dynamo_scan_read(&table, &text, &out, &after, &fit)) {
    fuzz_inside(after, &text);
    MUST(after.len == 0 || is_json(after));
    kin_buf_add_text(&out, "}");
    check_rows(&table, &out);
  }
  kin_buf_clear(&out);
  if (kin_dynamo_row_read(&table, &text, "Item", &out) && out.len > 0) {
    MUST(is_json(kin_buf_slice(&out)));
    write_again(&table, KIN_SLICE("r:s:x"), kin_buf_slice(&out));
  }
  write_again(&table, KIN_SLICE("r:s:x"), kin_buf_slice(&text));
  MUST(size == 0 || memcmp(text.at, data, size) == 0);
  kin_buf_free(&out);
  kin_buf_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  check(&one, data, size);
  check(&many, data, size);
  return 0;
}
