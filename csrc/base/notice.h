/* notice: a rate limit on messages to stderr or to a host's log: one a minute for each key, in the
 * whole process. It spans Lua states, because nginx with lua_code_cache off makes a producer for
 * every request.
 *
 * Any thread; the module locks itself and calls nothing while locked. */
#ifndef KIN_BASE_NOTICE_H
#define KIN_BASE_NOTICE_H

#include "base/bytes.h"
#include "base/clock.h"

/* More keys than a process uses in a minute: an evicted key would be due again too soon. 16 bytes
 * each. */
enum { KIN_NOTICES = 1024 };

#define KIN_NOTICE_EVERY (60 * KIN_SECOND)

/* Whether a message of this key may be written at `now` (monotonic); if so, the next one may be
 * written KIN_NOTICE_EVERY later. The newest KIN_NOTICES keys are kept. */
bool kin_notice_due(kin_slice key, kin_time now);

#endif
