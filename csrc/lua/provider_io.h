/* provider_io: methods of a client that do I/O for credentials providers: HTTP requests that are
 * not signed, and programs. Each returns ticket | nil, error; wrong arguments raise, as only the
 * library passes them. Lua thread. */
#ifndef KIN_LUA_PROVIDER_IO_H
#define KIN_LUA_PROVIDER_IO_H

#include "lua/ticket.h"

/* client:fetch(method, {url, header line, …}, body, timeout, connect_timeout, delay, direct): one
 * attempt; any status is a success. Durations in seconds. `direct`: past any proxy.
 * ticket:answer() -> true, {status=, body=} */
int kin_lua_provider_io_fetch(lua_State *L, kin_engine *engine);

/* client:run({program, argument, …}, timeout)
 * ticket:answer() -> true, {status=, output=, errors=} */
int kin_lua_provider_io_run(lua_State *L, kin_engine *engine);

#endif
