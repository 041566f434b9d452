/* clock: monotonic time for every wait, wall time for signing, and random_number for jitter.
 * A spec replaces all three to drive the engine without sleeping. */
#ifndef KIN_BASE_CLOCK_H
#define KIN_BASE_CLOCK_H

#include <stdint.h>

/* Microseconds. */
typedef int64_t kin_time;

#define KIN_NEVER INT64_MAX
#define KIN_MILLISECOND ((kin_time)1000)
#define KIN_SECOND ((kin_time)1000000)

typedef struct kin_clock kin_clock;
struct kin_clock {
  kin_time (*monotonic)(kin_clock *clock);
  kin_time (*coarse)(kin_clock *clock); /* the same, some milliseconds late, for next to nothing */
  kin_time (*wall)(kin_clock *clock);   /* since 1970, UTC */
  double (*random)(kin_clock *clock);   /* in [0, 1) */
  uint64_t seed;
};

void kin_clock_init(kin_clock *clock);

/* What `monotonic` tells where nobody replaces it. */
kin_time kin_monotonic(void);

/* `seconds` as given by a user; what does not fit is KIN_NEVER. */
kin_time kin_seconds(double seconds);

/* now + delay, where either may be KIN_NEVER. */
kin_time kin_time_after(kin_time now, kin_time delay);

#endif
