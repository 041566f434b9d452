#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/text.h"

void kin_error_clear(kin_error *error) {
  memset(error, 0, sizeof *error);
}

static void set(kin_error *error, kin_error_class class, kin_slice code, size_t len) {
  error->class = class;
  kin_slice_copy(code, error->code, sizeof error->code);
  kin_text_clean_field(error->code);
  kin_text_end(error->message, sizeof error->message, len);
}

void kin_error_set(kin_error *error, kin_error_class class, const char *code, const char *format,
                   ...) {
  va_list list;
  va_start(list, format);
  int len = vsnprintf(error->message, sizeof error->message, format, list);
  va_end(list);
  set(error, class, kin_slice_of(code), len > 0 ? (size_t)len : 0);
}

void kin_error_set_service(kin_error *error, kin_error_class class, kin_slice code,
                           kin_slice message) {
  size_t room = sizeof error->message - 1;
  if (message.len > 0)
    memcpy(error->message, message.at, message.len < room ? message.len : room);
  set(error, class, code, message.len);
}

void kin_error_add_maybe_stored(kin_error *error, unsigned times) {
  size_t len = strlen(error->message);
  snprintf(error->message + len, sizeof error->message - len, "; it may be stored up to %u time%s",
           times, times == 1 ? "" : "s");
}

/* KMSThrottlingException is in no SDK's list; but the quota of KMS is a throttle like the others.
 */
static const char *const throttling[] = {
    "ProvisionedThroughputExceededException",
    "LimitExceededException",
    "KMSThrottlingException",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottledException",
    "RequestThrottled",
    "TooManyRequestsException",
    "TransactionInProgressException",
    "RequestLimitExceeded",
    "BandwidthLimitExceeded",
    "SlowDown",
    "PriorRequestNotComplete",
    "EC2ThrottledException",
    NULL,
};

/* Those of a server need no list beside HTTP 5xx; but an entry of PutRecords has its code beside
 * 200.
 */
static const char *const transient[] = {
    "InternalError",
    "InternalFailure",
    "InternalFailureException",
    "InternalServerError",
    "InternalServerErrorException",
    "InternalServerException",
    "InternalServiceError",
    "InternalServiceException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "RequestTimeout",
    "RequestTimeoutException",
    NULL,
};

static const char *const expired_credentials[] = {"ExpiredTokenException", "ExpiredToken", NULL};

static const char *const unknown_credentials[] = {"UnrecognizedClientException",
                                                  "InvalidClientTokenId", NULL};

static bool listed(const char *const *list, kin_slice code) {
  for (; *list; list++)
    if (kin_slice_is(code, *list))
      return true;
  return false;
}

bool kin_error_is_unknown_credentials(const kin_error *error) {
  return listed(unknown_credentials, kin_slice_of(error->code));
}

bool kin_error_is_about_credentials(const kin_error *error) {
  return listed(expired_credentials, kin_slice_of(error->code)) ||
         kin_error_is_unknown_credentials(error);
}

kin_error_class kin_error_classify(kin_slice code, int status) {
  if (listed(throttling, code) || status == 429)
    return KIN_THROTTLED;
  if (listed(transient, code) || status == 500 || status == 502 || status == 503 || status == 504)
    return KIN_TRANSIENT;
  return KIN_FATAL;
}

kin_slice kin_error_bare_code(kin_slice code) {
  const char *end = code.len ? memchr(code.at, ':', code.len) : NULL;
  if (end)
    code.len = (size_t)(end - code.at);
  const char *hash = code.len ? memchr(code.at, '#', code.len) : NULL;
  if (hash) {
    code.len -= (size_t)(hash + 1 - code.at);
    code.at = hash + 1;
  }
  return code;
}
