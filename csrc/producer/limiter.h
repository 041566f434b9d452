/* limiter: how fast one shard may be written: two token buckets, for records and bytes. It starts
 * at the shard's limits, or where they are unknown learns them from the first throttling (`guess`),
 * drops to 0.7 of the rate when the service throttles, and grows by a tenth of the limit per
 * second. The bytes may go below zero, so that a record larger than the bucket can be sent. Engine
 * thread. https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html */
#ifndef KIN_PRODUCER_LIMITER_H
#define KIN_PRODUCER_LIMITER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"

enum { KIN_SHARD_RECORDS = 1000, KIN_SHARD_BYTES = 1 << 20 }; /* per second */

typedef struct kin_limiter {
  double records_max, bytes_max;     /* per second; 0: unknown */
  double share;                      /* of the maxima, that is used now */
  bool guessed;                      /* the maxima are the rates at which the service throttled */
  double records, bytes;             /* tokens; at most one second's */
  kin_time filled;                   /* when the buckets were last filled */
  kin_time throttled;                /* when the share was last reduced */
  double taken_records, taken_bytes; /* since `counted` */
  kin_time counted;
  double records_rate, bytes_rate; /* per second, over the last full second */
} kin_limiter;

/* `shards`: how many shards' limits the limiter has, times the share of them that this producer
 * uses; 0: unknown, then there is no limit until the service throttles. */
void kin_limiter_init(kin_limiter *limiter, double shards, kin_time now);

/* Takes tokens for one entry of `bytes`. False: there are not enough yet. */
bool kin_limiter_take(kin_limiter *limiter, size_t bytes, kin_time now);

/* When the next of `records` waiting entries may be sent; waits a little for a batch, at most one
 * second. */
kin_time kin_limiter_when(const kin_limiter *limiter, size_t records, kin_time now);

/* The service throttled a request that was started at `started_at`. */
void kin_limiter_throttle(kin_limiter *limiter, kin_time started_at, kin_time now);

#endif
