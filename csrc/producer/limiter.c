#include "producer/limiter.h"

static const double reduction = 0.7, share_min = 0.01, growth = 0.1; /* growth: per second */
static const double batch_seconds = 0.05; /* tokens of this time are waited for */
static const double wait_max = 1;         /* seconds; the share grows meanwhile */
static const double guess_min = 10;       /* records per second */

static double seconds(kin_time time) {
  return (double)time / (double)KIN_SECOND;
}

static double least(double one, double other) {
  return one < other ? one : other;
}

void kin_limiter_init(kin_limiter *limiter, double shards, kin_time now) {
  *limiter = (kin_limiter){
      .records_max = shards * KIN_SHARD_RECORDS,
      .bytes_max = shards * KIN_SHARD_BYTES,
      .share = 1,
      .filled = now,
      .throttled = now - KIN_SECOND,
      .counted = now,
  };
  limiter->records = limiter->records_max;
  limiter->bytes = limiter->bytes_max;
}

/* Computes the rates when a second or more has passed. */
static void count(kin_limiter *limiter, kin_time now) {
  kin_time passed = now - limiter->counted;
  if (passed < KIN_SECOND)
    return;
  limiter->records_rate = limiter->taken_records / seconds(passed);
  limiter->bytes_rate = limiter->taken_bytes / seconds(passed);
  limiter->taken_records = limiter->taken_bytes = 0;
  limiter->counted = now;
}

static void fill(kin_limiter *limiter, kin_time now) {
  double passed = seconds(now - limiter->filled);
  limiter->filled = now;
  count(limiter, now);
  if (limiter->guessed && limiter->share >= 1) { /* the cause of the throttling may be over */
    limiter->records_max *= 1 + growth * passed;
    limiter->bytes_max *= 1 + growth * passed;
  }
  limiter->share = least(limiter->share + growth * passed, 1);
  double records = limiter->records_max * limiter->share;
  double bytes = limiter->bytes_max * limiter->share;
  limiter->records = least(limiter->records + records * passed, records < 1 ? 1 : records);
  limiter->bytes = least(limiter->bytes + bytes * passed, bytes);
}

bool kin_limiter_take(kin_limiter *limiter, size_t bytes, kin_time now) {
  fill(limiter, now);
  if (limiter->records_max > 0) {
    if (limiter->records < 1 || limiter->bytes <= 0)
      return false;
    limiter->records--;
    limiter->bytes -= (double)bytes;
  }
  limiter->taken_records++;
  limiter->taken_bytes += (double)bytes;
  return true;
}

kin_time kin_limiter_when(const kin_limiter *limiter, size_t records, kin_time now) {
  if (limiter->records_max <= 0)
    return now;
  double records_rate = limiter->records_max * limiter->share;
  double bytes_rate = limiter->bytes_max * limiter->share;
  double wanted = least((double)records, records_rate * batch_seconds);
  wanted = wanted < 1 ? 1 : wanted;
  double for_records = (wanted - limiter->records) / records_rate;
  double for_bytes = (bytes_rate * batch_seconds - limiter->bytes) / bytes_rate;
  double wait = least(for_records > for_bytes ? for_records : for_bytes, wait_max);
  return wait > 0 ? limiter->filled + (kin_time)(wait * (double)KIN_SECOND) + 1 : now;
}

/* Sets the maxima to the current rates, at which the service has throttled. */
static void guess(kin_limiter *limiter, kin_time now) {
  double passed = seconds(now - limiter->counted);
  double rate = limiter->records_rate, bytes_rate = limiter->bytes_rate;
  if (passed > 0 && limiter->taken_records / passed > rate) {
    passed = passed < batch_seconds ? batch_seconds : passed;
    rate = limiter->taken_records / passed;
    bytes_rate = limiter->taken_bytes / passed;
  }
  limiter->guessed = true;
  limiter->records_max = rate > guess_min ? rate : guess_min;
  limiter->bytes_max = bytes_rate > KIN_SHARD_BYTES ? bytes_rate : KIN_SHARD_BYTES;
}

void kin_limiter_throttle(kin_limiter *limiter, kin_time started_at, kin_time now) {
  fill(limiter, now);
  if (started_at < limiter->throttled)
    return; /* the request was sent at the rate before the reduction */
  limiter->throttled = now;
  if (limiter->records_max <= 0 || (limiter->guessed && limiter->share >= 1))
    guess(limiter, now);
  limiter->share *= reduction;
  if (limiter->share < share_min)
    limiter->share = share_min;
  limiter->records = least(limiter->records, 0);
  limiter->bytes = least(limiter->bytes, 0);
}
