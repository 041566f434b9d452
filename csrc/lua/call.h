/* call: methods of a client that send one call to the service. Each takes the client's arguments
 * from the stack and returns
 *   ticket | false, message (a wrong argument) | nil, error
 * Lua thread. */
#ifndef KIN_LUA_CALL_H
#define KIN_LUA_CALL_H

#include "lua/ticket.h"

/* client:put(stream, data, partition_key, explicit_hash_key, sequence_number_for_ordering, target)
 * ticket:answer() -> true, result */
int kin_lua_call_put(lua_State *L, kin_engine *engine);

/* client:call(operation, body, target); ticket:answer() -> true, body, request id */
int kin_lua_call_send(lua_State *L, kin_engine *engine);

/* client:subscribe(body, target); ticket:event() gives the events of SubscribeToShard. */
int kin_lua_call_subscribe(lua_State *L, kin_engine *engine);

#endif
