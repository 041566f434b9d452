/* retry: whether, and when, a failed call is tried again: the SDKs' standard mode of 2026, and how
 * far the service's clock is from ours. One thread.
 * https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html */
#ifndef KIN_ENGINE_RETRY_H
#define KIN_ENGINE_RETRY_H

#include "base/clock.h"
#include "base/error.h"

enum { KIN_RETRY_QUOTA = 500 };

typedef struct kin_retry kin_retry;
struct kin_retry {
  int quota;     /* starts at KIN_RETRY_QUOTA */
  kin_time skew; /* service's clock - ours, microseconds */
};

void kin_retry_init(kin_retry *retry);

/* A random part of min(base * 2^retries, 20 s); base is 50 ms, or 1 s for throttling. */
kin_time kin_retry_backoff(kin_clock *clock, kin_error_class class, unsigned retries);

/* After attempt number `attempt` (from 1) of at most `max` failed. `after` is the service's
 * x-amz-retry-after in microseconds, negative when there was none; `most` is the longest delay that
 * still makes sense. False: give up. True: try again after *delay; *cost was taken from the quota.
 */
bool kin_retry_again(kin_retry *retry, kin_clock *clock, const kin_error *error, unsigned attempt,
                     unsigned max, kin_time after, kin_time most, kin_time *delay, int *cost);

/* A call went well; `cost` is what its last repetition took, 0 when there was none. */
void kin_retry_success(kin_retry *retry, int cost);

/* An answer's Date header tells the service's clock at about the middle of the round trip. */
void kin_retry_note_date(kin_retry *retry, const char *date, kin_time sent, kin_time received);

/* The service refused a request whose only fault may be the clock it was signed with, `skew` ahead
 * of ours: such a failure passes, now that the service's own is known better. */
bool kin_retry_is_skew(const kin_retry *retry, const char *code, kin_time skew);

#endif
