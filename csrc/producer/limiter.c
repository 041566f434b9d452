#include "producer/limiter.h"

static const double cut = 0.7, least_share = 0.01, growth = 0.1 /* a second */;
static const double company = 0.05;   /* seconds' worth that is waited for */
static const double most_wait = 1;    /* second; meanwhile the share comes back */
static const double least_known = 10; /* records a second, when a limit shows that was not known */

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

/* What was taken in the last second or more, as a rate. */
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
  if (limiter->guessed && limiter->share >= 1) { /* what throttled may be over */
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
  double wanted = least((double)records, records_rate * company);
  wanted = wanted < 1 ? 1 : wanted;
  double for_records = (wanted - limiter->records) / records_rate;
  double for_bytes = (bytes_rate * company - limiter->bytes) / bytes_rate;
  double wait = least(for_records > for_bytes ? for_records : for_bytes, most_wait);
  return wait > 0 ? limiter->filled + (kin_time)(wait * (double)KIN_SECOND) + 1 : now;
}

/* What there was when the service throttled; also where a guess has grown since, by what was not
 * asked for. */
static void guess(kin_limiter *limiter, kin_time now) {
  double passed = seconds(now - limiter->counted);
  double rate = limiter->records_rate, bytes_rate = limiter->bytes_rate;
  if (passed > 0 && limiter->taken_records / passed > rate) {
    passed = passed < company ? company : passed;
    rate = limiter->taken_records / passed;
    bytes_rate = limiter->taken_bytes / passed;
  }
  limiter->guessed = true;
  limiter->records_max = rate > least_known ? rate : least_known;
  limiter->bytes_max = bytes_rate > KIN_SHARD_BYTES ? bytes_rate : KIN_SHARD_BYTES;
}

void kin_limiter_throttle(kin_limiter *limiter, kin_time sent, kin_time now) {
  fill(limiter, now);
  if (sent < limiter->throttled)
    return; /* it left before the share was cut: nothing new is learnt */
  limiter->throttled = now;
  if (limiter->records_max <= 0 || (limiter->guessed && limiter->share >= 1))
    guess(limiter, now);
  limiter->share *= cut;
  if (limiter->share < least_share)
    limiter->share = least_share;
  limiter->records = least(limiter->records, 0);
  limiter->bytes = least(limiter->bytes, 0);
}
