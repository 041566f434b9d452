/* producer_stats: the table of producer:stats(). Lua thread. */
#ifndef KIN_LUA_PRODUCER_STATS_H
#define KIN_LUA_PRODUCER_STATS_H

#include "lua/class.h"
#include "producer/queue.h"

/* `unreported`: failed records that were collected and not yet passed on to the user. */
void kin_lua_producer_stats_push(lua_State *L, kin_queue *queue, size_t unreported);

#endif
