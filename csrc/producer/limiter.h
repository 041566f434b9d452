/* limiter: how fast one shard may be written. It starts at the shard's limits, gives way when the
 * service throttles (to 0.7 of the rate), and comes back bit by bit (a tenth of the limit a
 * second). Its buckets may go into debt, so that a record larger than a bucket can pass. One
 * thread. https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html */
#ifndef KIN_PRODUCER_LIMITER_H
#define KIN_PRODUCER_LIMITER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"

enum { KIN_SHARD_RECORDS = 1000, KIN_SHARD_BYTES = 1 << 20 }; /* a second */

typedef struct kin_limiter {
  double records_max, bytes_max; /* a second; what it may come up to. 0: not known */
  double share;                  /* of that, which is used now */
  bool guessed;                  /* the maxima are what there was when the service throttled */
  double records, bytes;         /* in the buckets: at most a second's worth */
  kin_time filled;
  kin_time throttled;                /* when the share was last cut */
  double taken_records, taken_bytes; /* since `counted`; then as rates */
  kin_time counted;
  double records_rate, bytes_rate; /* a second, of the last whole one */
} kin_limiter;

/* `shards` is how many shards' limits it stands for, times what share of them is ours; 0: not
 * known, then there is no limit until the service throttles. */
void kin_limiter_init(kin_limiter *limiter, double shards, kin_time now);

/* One record of the service, of so many bytes. False: not yet. */
bool kin_limiter_take(kin_limiter *limiter, size_t bytes, kin_time now);

/* When to try to take the next ones, within a second; `records` is how many wait, so that they go
 * in company. */
kin_time kin_limiter_when(const kin_limiter *limiter, size_t records, kin_time now);

/* The service throttled what was sent then. */
void kin_limiter_throttle(kin_limiter *limiter, kin_time sent, kin_time now);

#endif
