/* client: an engine as a Lua userdata: sends, drains and waits. Owned by Lua; Lua thread. */
#ifndef KIN_LUA_CLIENT_H
#define KIN_LUA_CLIENT_H

#include "lua/class.h"

void kin_lua_client_open(lua_State *L);

/* {url=, host=, path=, region=, ca_bundle=, user_agent=, connect_timeout=, request_timeout=,
 * call_timeout=, traced=, max_attempts=, max_connections=} -> client | nil, error. The Lua modules
 * have checked the options. Durations in seconds. */
int kin_lua_client_push(lua_State *L);

/* wait(clients, seconds | nil) -> true when one of the clients may have something to drain. Returns
 * after a second at most, and early when a signal arrives, so that the VM can run its hook. */
int kin_lua_client_wait(lua_State *L);

#endif
