/* deadline: until when something may be done, such as delivering the records of a shard by a lease.
 * One thread moves it, any thread asks; counted: the last reference out frees it. Times are those
 * of kin_boottime, which goes on while the machine sleeps. */
#ifndef KIN_BASE_DEADLINE_H
#define KIN_BASE_DEADLINE_H

#include <stdbool.h>

#include "base/clock.h"

typedef struct kin_deadline kin_deadline;

/* Passed already. NULL: out of memory. */
kin_deadline *kin_deadline_create(void);
kin_deadline *kin_deadline_hold(kin_deadline *deadline);
void kin_deadline_release(kin_deadline *deadline);

void kin_deadline_set(kin_deadline *deadline, kin_time boottime);
/* How long until then; 0: it has passed. */
kin_time kin_deadline_left(const kin_deadline *deadline, kin_time boottime);
bool kin_deadline_has_passed(const kin_deadline *deadline, kin_time boottime);

#endif
