/* window_pool: the window that the readers of a worker share, as a Lua userdata. It holds a
 * reference, as do the readers that were made with it; it needs no engine. Owned by Lua; Lua
 * thread. */
#ifndef KIN_LUA_WINDOW_POOL_H
#define KIN_LUA_WINDOW_POOL_H

#include "consumer/window_pool.h"
#include "lua/class.h"

void kin_lua_window_pool_open(lua_State *L);

/* core.window_pool(bytes) -> pool, for the field window_pool of client:reader */
int kin_lua_window_pool_push(lua_State *L);

/* That of the field of the table, which keeps it; NULL: none. */
kin_window_pool *kin_lua_window_pool_field(lua_State *L, int table, const char *field);

#endif
