/* Reads any text: reading it as a tree and skipping it agree whether it is well-formed, and a
 * string that is written again reads the same. */
#include "fuzz.h"
#include "wire/json.h"

enum { DEPTH_MAX = 64 };

static void read_back(kin_slice text) {
  kin_buf written;
  kin_json json;
  kin_slice again = {0};
  kin_buf_init(&written, 6 * text.len + 2);
  kin_json_add_string(&written, text);
  MUST(!written.failed);
  kin_json_init(&json, written.at, written.len);
  MUST(kin_json_string(&json, &again) && kin_json_done(&json));
  MUST(again.len == text.len && memcmp(again.at, text.at, text.len) == 0);
  kin_buf_free(&written);
}

/* What is written for a number is a number. */
static void number_back(double number) {
  kin_buf written;
  kin_json json;
  double again;
  kin_buf_init(&written, 64);
  if (kin_json_add_number(&written, number)) {
    MUST(!written.failed);
    kin_json_init(&json, written.at, written.len);
    MUST(kin_json_number(&json, &again) && kin_json_done(&json));
    MUST((again < 0) == (number < 0) || again == 0);
  }
  kin_buf_free(&written);
}

static void read_value(kin_json *json, const kin_buf *buf, int depth) {
  kin_slice text = {0};
  double number;
  switch (kin_json_peek(json)) {
  case KIN_JSON_OBJECT:
    if (depth == DEPTH_MAX) {
      json->bad = true;
      return;
    }
    kin_json_object(json);
    while (kin_json_key(json, &text)) {
      fuzz_inside(text, buf);
      read_value(json, buf, depth + 1);
      if (json->bad)
        return;
    }
    return;
  case KIN_JSON_ARRAY:
    if (depth == DEPTH_MAX) {
      json->bad = true;
      return;
    }
    kin_json_array(json);
    while (kin_json_item(json)) {
      read_value(json, buf, depth + 1);
      if (json->bad)
        return;
    }
    return;
  case KIN_JSON_STRING:
    if (kin_json_string(json, &text)) {
      fuzz_inside(text, buf);
      read_back(text);
    }
    return;
  case KIN_JSON_NUMBER:
    if (kin_json_number(json, &number))
      number_back(number);
    return;
  default:
    kin_json_skip(json);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  kin_buf read = fuzz_copy(data, size), skipped = fuzz_copy(data, size);
  kin_json json;
  kin_json_init(&json, read.at, read.len);
  read_value(&json, &read, 0);
  bool good = kin_json_done(&json);
  kin_json_init(&json, skipped.at, skipped.len);
  kin_json_skip(&json);
  MUST(good == kin_json_done(&json));
  kin_buf_free(&read);
  kin_buf_free(&skipped);
  return 0;
}
