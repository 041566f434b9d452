/* Classifies a response of any status, headers and body: as a success, or an error with a code and
 * a terminated message. The input: a status byte, then lines for x-amzn-errortype, Date and
 * x-amz-retry-after, then the body. */
#include "engine/call.h"
#include "engine/retry.h"
#include "fuzz.h"

static kin_slice take_line(kin_slice *rest) {
  const char *end = rest->len ? memchr(rest->at, '\n', rest->len) : NULL;
  kin_slice line = {rest->at, end ? (size_t)(end - rest->at) : rest->len};
  size_t used = line.len + (end != NULL);
  *rest = (kin_slice){rest->at + used, rest->len - used};
  return line;
}

static void check_failure(const kin_error *error) {
  MUST(memchr(error->code, '\0', sizeof error->code));
  MUST(memchr(error->message, '\0', sizeof error->message));
  MUST(error->class == KIN_OK || error->code[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const int statuses[] = {200, 204, 301, 400, 403, 404, 413, 500, 503, 599, 0, 1000};
  if (size == 0)
    return 0;
  kin_slice rest = {(const char *)data + 1, size - 1};
  kin_call *call = kin_call_create("GetRecords", 3);
  MUST(call);
  kin_exchange *exchange = &call->request.exchange;
  exchange->url = "https://localhost/";
  exchange->status = statuses[data[0] % (sizeof statuses / sizeof *statuses)];
  kin_slice_copy(take_line(&rest), exchange->error_type, sizeof exchange->error_type);
  kin_slice_copy(take_line(&rest), exchange->date, sizeof exchange->date);
  kin_slice_copy(take_line(&rest), exchange->retry_after, sizeof exchange->retry_after);
  exchange->answer = fuzz_copy((const uint8_t *)rest.at, rest.len);
  kin_retry retry;
  kin_retry_init(&retry);
  kin_retry_note_date(&retry, exchange->date, 0, 0, 0);
  MUST(kin_call_retry_after(call) >= -1);
  kin_call_classify(call);
  check_failure(&call->request.error);
  bool good = exchange->status >= 200 && exchange->status <= 299;
  MUST(good || call->request.error.class != KIN_OK);
  kin_message_free(&call->request.message);
  return 0;
}
