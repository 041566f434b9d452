/* bisect: finds the records for whose content the service refuses a whole request, for the producer
 * and for put_many. The records of a refused request are sent again in requests of half the size,
 * until a bad one is alone. Each record carries `max_batch` for that: the most records of a request
 * with it; 0: no limit. Any thread; no state. */
#ifndef KIN_PRODUCER_BISECT_H
#define KIN_PRODUCER_BISECT_H

#include <stdint.h>

#include "base/error.h"

/* Whether the error is about the content of the request, and not about the stream or the caller. */
bool kin_bisect_is_about_content(const kin_error *error);

/* A request of that many records was refused for its content: sets the limit of one of them. */
void kin_bisect_narrow(uint16_t *max_batch, size_t refused);

/* The lesser of two limits. */
static inline unsigned kin_bisect_least(unsigned one, unsigned other) {
  return one == 0 || (other > 0 && other < one) ? other : one;
}

/* Whether a request with that limit may have `records` records. One record is always allowed. */
static inline bool kin_bisect_allows(unsigned max_batch, size_t records) {
  return max_batch == 0 || records <= max_batch || records <= 1;
}

#endif
