/* put_many: the binding of producer/put_many.h. Lua thread. */
#ifndef KIN_LUA_PUT_MANY_H
#define KIN_LUA_PUT_MANY_H

#include "lua/ticket.h"

void kin_lua_put_many_open(lua_State *L);

/* client:put_many(stream, records, first, target): sends as many records, from `first` on, as fit
 * one request. With `first` 1, checks all records before. Returns ticket, index of the first record
 * that did not fit | false, message (a wrong argument) | nil, error.
 * ticket:answer(results, first) fills results[first …] -> true, how many failed */
int kin_lua_put_many_send(lua_State *L, kin_engine *engine);

#endif
