#include "base/clock.h"

#include <time.h>
#include <unistd.h>

static kin_time read_clock(clockid_t which) {
  struct timespec now;
  clock_gettime(which, &now);
  return (kin_time)now.tv_sec * KIN_SECOND + now.tv_nsec / 1000;
}

kin_time kin_monotonic(void) {
  return read_clock(CLOCK_MONOTONIC);
}

kin_time kin_boottime(void) {
#ifdef CLOCK_BOOTTIME
  return read_clock(CLOCK_BOOTTIME);
#else
  return read_clock(CLOCK_MONOTONIC);
#endif
}

static kin_time boottime(kin_clock *clock) {
  (void)clock;
  return kin_boottime();
}

static kin_time monotonic(kin_clock *clock) {
  (void)clock;
  return kin_monotonic();
}

static kin_time coarse(kin_clock *clock) {
  (void)clock;
#ifdef CLOCK_MONOTONIC_COARSE
  return read_clock(CLOCK_MONOTONIC_COARSE);
#else
  return read_clock(CLOCK_MONOTONIC);
#endif
}

kin_time kin_wall(void) {
  return read_clock(CLOCK_REALTIME);
}

static kin_time wall(kin_clock *clock) {
  (void)clock;
  return kin_wall();
}

/* xorshift64*: jitter needs spread, not secrecy. */
static double random_number(kin_clock *clock) {
  uint64_t x = clock->seed;
  x ^= x >> 12;
  x ^= x << 25;
  x ^= x >> 27;
  clock->seed = x;
  return (double)((x * 0x2545F4914F6CDD1DULL) >> 11) * 0x1.0p-53;
}

void kin_clock_init(kin_clock *clock) {
  *clock = (kin_clock){.monotonic = monotonic,
                       .coarse = coarse,
                       .wall = wall,
                       .boottime = boottime,
                       .random = random_number};
  uint64_t mixed = (uint64_t)kin_wall() ^ ((uint64_t)getpid() << 40) ^ (uint64_t)(uintptr_t)clock;
  clock->seed = mixed ? mixed : 1;
}

kin_time kin_seconds(double seconds) {
  if (!(seconds > 0))
    return 0;
  return seconds >= 9e12 ? KIN_NEVER : (kin_time)(seconds * (double)KIN_SECOND);
}

kin_time kin_time_after(kin_time now, kin_time delay) {
  return delay >= KIN_NEVER - now ? KIN_NEVER : now + delay;
}
