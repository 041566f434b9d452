/* reader_stats: the metrics of a reader as Lua values. They outlive the reader's close. Lua thread.
 */
#ifndef KIN_LUA_READER_STATS_H
#define KIN_LUA_READER_STATS_H

#include "consumer/metrics.h"
#include "lua/class.h"

/* Creates the class. Pushes nothing. */
void kin_lua_reader_stats_open(lua_State *L);

/* Pushes a userdata that holds the metrics. */
int kin_lua_reader_stats_push(lua_State *L, kin_reader_metrics *metrics);

#endif
