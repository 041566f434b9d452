/* clock: monotonic time for waits, wall time for signing, random numbers for jitter. A clock
 * belongs to one thread. Specs replace its functions to run the engine without sleeping. */
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
  kin_time (*coarse)(kin_clock *clock);   /* monotonic, up to some milliseconds late, but cheaper */
  kin_time (*wall)(kin_clock *clock);     /* since 1970, UTC */
  kin_time (*boottime)(kin_clock *clock); /* monotonic, and goes on while the machine sleeps */
  double (*random)(kin_clock *clock);     /* in [0, 1) */
  uint64_t seed;
};

void kin_clock_init(kin_clock *clock);

/* The system's monotonic time. Any thread. */
kin_time kin_monotonic(void);

/* The system's time since 1970, UTC. Any thread. */
kin_time kin_wall(void);

/* The same, and goes on while the machine sleeps, where the system has such a clock. Any thread. */
kin_time kin_boottime(void);

/* Converts a user's seconds; KIN_NEVER: too large. */
kin_time kin_seconds(double seconds);

/* now + delay, where either may be KIN_NEVER. */
kin_time kin_time_after(kin_time now, kin_time delay);

#endif
