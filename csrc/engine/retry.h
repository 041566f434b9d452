/* retry: whether and when a failed call is retried (the SDKs' standard mode of 2026), and the skew
 * of the service's clock. Engine thread.
 * https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html */
#ifndef KIN_ENGINE_RETRY_H
#define KIN_ENGINE_RETRY_H

#include "base/clock.h"
#include "base/error.h"

enum { KIN_RETRY_QUOTA = 500 };

#define KIN_RETRY_BASE (50 * KIN_MILLISECOND)

/* Attempts whose 2xx response cannot be read, by default: each of them has probably succeeded, so
 * that a retry does the work again. */
enum { KIN_UNKNOWN_ATTEMPTS = 3 };

typedef struct kin_retry kin_retry;
struct kin_retry {
  int quota;             /* starts at KIN_RETRY_QUOTA */
  kin_time skew;         /* the service's clock minus the local clock, microseconds */
  kin_time confirmed_at; /* monotonic; when a second Date agreed with it; 0: none has */
};

void kin_retry_init(kin_retry *retry);

/* A random fraction of min(base * 2^retries, 20 s); base is the service's, or 1 s for throttling.
 */
kin_time kin_retry_backoff_of(kin_clock *clock, kin_time base, kin_error_class class,
                              unsigned retries);

/* The same for Kinesis. */
kin_time kin_retry_backoff(kin_clock *clock, kin_error_class class, unsigned retries);

/* Attempt number `attempt` (from 1) of at most `max` has failed. `after`: the service's
 * x-amz-retry-after, negative: absent; `delay_max`: a delay this long is too long. False: no retry.
 * True: retry after *delay; *cost was taken from the quota. */
bool kin_retry_again(kin_retry *retry, kin_clock *clock, kin_time base, const kin_error *error,
                     unsigned attempt, unsigned max, kin_time after, kin_time delay_max,
                     kin_time *delay, int *cost);

/* A call has succeeded; `cost`: of its last retry, 0: without a retry. */
void kin_retry_success(kin_retry *retry, int cost);

/* Sets the skew by a response's Date header, taken as the middle of the round trip. A Date that the
 * known skew explains confirms that: the round trip may have been long. `sent` and `received` are
 * wall time, `now` is monotonic. */
void kin_retry_note_date(kin_retry *retry, const char *date, kin_time sent, kin_time received,
                         kin_time now);

/* What to add to the local clock to judge the expiry of credentials. A skew that makes them expire
 * earlier must have been confirmed lately: one wrong Date must not expire all credentials. */
kin_time kin_retry_expiry_offset(kin_time skew, kin_time confirmed_at, kin_time now);

/* Whether an error of this code may come from the clock: the request was signed with `skew`, and
 * the skew known now is very different. Such a request is worth a retry. */
bool kin_retry_is_skew(const kin_retry *retry, const char *code, kin_time skew);

/* Whether the error is about the time at which the request was signed: a new signature helps,
 * whatever the skew. `dated`: the response has a Date; `age`: of the signature. */
bool kin_retry_is_signature_age(const kin_error *error, bool dated, kin_time age);

#endif
