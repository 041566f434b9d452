/* client: the engine as Lua holds it: what goes in, what is drained, how to wait. */
#ifndef KIN_LUA_CLIENT_H
#define KIN_LUA_CLIENT_H

#include "lua/class.h"

void kin_lua_client_open(lua_State *L);

/* {url=, host=, path=, region=, ca_bundle=, user_agent=, connect_timeout=, request_timeout=,
 * max_attempts=, max_connections=} -> client, or nil, message. Checked in Lua. */
int kin_lua_client_push(lua_State *L);

/* A list of clients, seconds or nil -> true when one of them may have something to
 * drain. Returns early when a signal arrives, so that the VM sees it. */
int kin_lua_client_wait(lua_State *L);

#endif
