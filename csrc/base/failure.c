#include "base/failure.h"

#include <stdarg.h>
#include <stdio.h>

void kin_failure_clear(kin_failure *failure) {
  memset(failure, 0, sizeof *failure);
}

void kin_failure_set(kin_failure *failure, kin_failure_class class, const char *code,
                     const char *format, ...) {
  va_list list;
  failure->class = class;
  kin_slice_copy(kin_slice_of(code), failure->code, sizeof failure->code);
  va_start(list, format);
  vsnprintf(failure->message, sizeof failure->message, format, list);
  va_end(list);
}

/* KMSThrottlingException is in no SDK's list; it is KMS's quota, and passes like any throttle. */
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

static const char *const transient[] = {
    "InternalFailure",
    "InternalFailureException",
    "RequestTimeout",
    "RequestTimeoutException",
    NULL,
};

static bool listed(const char *const *list, kin_slice code) {
  for (; *list; list++)
    if (kin_slice_is(code, *list))
      return true;
  return false;
}

kin_failure_class kin_failure_classify(kin_slice code, int status) {
  if (listed(throttling, code) || status == 429)
    return KIN_THROTTLED;
  if (listed(transient, code) || status == 500 || status == 502 || status == 503 || status == 504)
    return KIN_PASSING;
  return KIN_FATAL;
}

kin_slice kin_failure_bare_code(kin_slice code) {
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
