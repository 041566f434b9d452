/* notice: how often a message that nobody asked for may go to stderr or to a host's log: once a
 * minute for each key in the whole process, however many Lua states and producers there are. nginx
 * with lua_code_cache off makes a producer for every request.
 *
 * Any thread; takes its own lock, calls nothing while holding it. */
#ifndef KIN_BASE_NOTICE_H
#define KIN_BASE_NOTICE_H

#include "base/bytes.h"
#include "base/clock.h"

/* More than the causes of a minute: a key that gave way to others is told again too soon. 16 bytes
 * each. */
enum { KIN_NOTICES = 1024 };

#define KIN_NOTICE_EVERY (60 * KIN_SECOND)

/* Whether a message of this key is due at `now` (monotonic); if so, the next one is due a minute
 * later. The newest KIN_NOTICES keys are remembered. */
bool kin_notice_due(kin_slice key, kin_time now);

#endif
