/* ticket: one call under way, as Lua holds it. ticket:answer() gives false while there is none. */
#ifndef KIN_LUA_TICKET_H
#define KIN_LUA_TICKET_H

#include "lua/handle.h"

void kin_lua_ticket_open(lua_State *L);

/* Each takes a client's checked arguments from the stack, sends, and pushes the ticket. Results:
 *   ticket | false, message (a wrong argument) | nil, error
 * and put_chunk pushes behind its ticket the index of the first record that did not fit; with
 * `first` 1 it checks all records before it sends. */
int kin_lua_ticket_put(lua_State *L,
                       kin_engine *engine); /* stream, data, key, hash key, after, target */
int kin_lua_ticket_call(lua_State *L, kin_engine *engine);      /* operation, body, target */
int kin_lua_ticket_subscribe(lua_State *L, kin_engine *engine); /* body, target */
int kin_lua_ticket_put_chunk(lua_State *L, kin_engine *engine); /* stream, records, first, target */

/* Errands for those who provide keys. Wrong arguments raise: they are our own. */
int kin_lua_ticket_fetch(lua_State *L, kin_engine *engine); /* see there */
int kin_lua_ticket_run(lua_State *L, kin_engine *engine);   /* argv, timeout */

#endif
