#include "engine/transport.h"

#include <stdio.h>

#include <stdlib.h>

#include "base/text.h"

void kin_exchange_fail(kin_exchange *exchange, kin_error_class class, const char *message) {
  exchange->failed = class;
  snprintf(exchange->trouble, sizeof exchange->trouble, "%s", message);
}

void kin_exchange_fail_by_code(kin_exchange *exchange) {
  bool memory = strcmp(exchange->code, KIN_CODE_OUT_OF_MEMORY) == 0;
  bool full = strcmp(exchange->code, KIN_CODE_FULL) == 0;
  kin_exchange_fail(exchange, memory || full ? KIN_TRANSIENT : KIN_FATAL,
                    memory ? "out of memory"
                    : full ? "the answer is larger than the space that is left; it is asked for "
                             "again when there is more"
                           : "the answer is larger than 32 MiB");
}

void kin_exchange_reset(kin_exchange *exchange) {
  kin_buf_clear(&exchange->answer);
  exchange->failed = KIN_OK;
  exchange->code = NULL;
  exchange->unsent = exchange->kept = exchange->aged = exchange->waited = false;
  exchange->expected = exchange->wanted = 0;
  exchange->status = 0;
  exchange->date[0] = exchange->error_type[0] = exchange->request_id[0] = '\0';
  exchange->retry_after[0] = exchange->crc32[0] = exchange->trouble[0] = '\0';
}

/* ---- headers of the response ---- */

static bool header_is(kin_slice line, const char *name, char *field, size_t capacity) {
  size_t len = strlen(name);
  if (line.len <= len || line.at[len] != ':' || !kin_slice_begins_with(line, name))
    return false;
  kin_slice value = {line.at + len + 1, line.len - len - 1};
  while (value.len > 0 && (value.at[0] == ' ' || value.at[0] == '\t')) {
    value.at++;
    value.len--;
  }
  while (value.len > 0 && strchr(" \t\r\n", value.at[value.len - 1]))
    value.len--;
  kin_slice_copy(value, field, capacity);
  kin_text_clean_field(field);
  return true;
}

static void take_length(kin_exchange *exchange, const char *length) {
  unsigned long long len = strtoull(length, NULL, 10);
  if (len > exchange->answer.max)
    exchange->code = KIN_CODE_BAD_ANSWER; /* fails before the body is received */
  else
    exchange->expected = (size_t)len;
}

bool kin_exchange_take_header(kin_exchange *exchange, kin_slice line) {
  char text[24];
  if (line.len > 5 && memcmp(line.at, "HTTP/", 5) == 0) {
    /* a new response: an interim one (100 Continue) may have preceded it */
    exchange->date[0] = exchange->error_type[0] = exchange->request_id[0] = '\0';
    exchange->retry_after[0] = exchange->crc32[0] = '\0';
    exchange->aged = false;
  } else if (header_is(line, "content-length", text, sizeof text)) {
    take_length(exchange, text);
  } else if (header_is(line, "age", text, sizeof text)) {
    exchange->aged = true;
  } else if (!header_is(line, "date", exchange->date, sizeof exchange->date) &&
             !header_is(line, "x-amzn-errortype", exchange->error_type,
                        sizeof exchange->error_type) &&
             !header_is(line, "x-amzn-requestid", exchange->request_id,
                        sizeof exchange->request_id) &&
             !header_is(line, "x-amz-crc32", exchange->crc32, sizeof exchange->crc32)) {
    header_is(line, "x-amz-retry-after", exchange->retry_after, sizeof exchange->retry_after);
  }
  return !exchange->code;
}

/* The capacity for `more` bytes: a body of known length gets space once, with its terminator. */
static size_t capacity_for(const kin_exchange *exchange, size_t more) {
  const kin_buf *answer = &exchange->answer;
  size_t len = answer->len + more,
         capacity = len <= exchange->expected ? exchange->expected + 1 : 2 * len;
  return capacity < answer->max ? capacity : answer->max;
}

static kin_space reserve(kin_exchange *exchange, size_t capacity) {
  kin_space space = KIN_SPACE_GIVEN;
  if (exchange->grow && capacity > exchange->granted) {
    exchange->wanted = capacity;
    space = exchange->grow(exchange, capacity);
  }
  if (space == KIN_SPACE_GIVEN)
    kin_buf_reserve(&exchange->answer, capacity - exchange->answer.len);
  else if (space == KIN_SPACE_NONE)
    exchange->code = KIN_CODE_FULL;
  else
    exchange->waited = true;
  return space;
}

kin_space kin_exchange_take_body(kin_exchange *exchange, kin_slice bytes) {
  kin_buf *answer = &exchange->answer;
  if (bytes.len > answer->capacity - answer->len) {
    kin_space space = reserve(exchange, capacity_for(exchange, bytes.len));
    if (space != KIN_SPACE_GIVEN)
      return space;
  }
  kin_buf_add_slice(answer, bytes);
  if (answer->failed)
    exchange->code = answer->out_of_memory ? KIN_CODE_OUT_OF_MEMORY : KIN_CODE_BAD_ANSWER;
  return answer->failed ? KIN_SPACE_NONE : KIN_SPACE_GIVEN;
}
