/* class: userdata with methods, and the differences between Lua 5.4 and LuaJIT. Lua thread. */
#ifndef KIN_LUA_CLASS_H
#define KIN_LUA_CLASS_H

#ifdef __has_include
#if !__has_include(<lua.h>)
#error "<lua.h> is missing. Debian: liblua5.4-dev; for LuaJIT libluajit-5.1-dev or, beside"
#error "luajit2, libluajit2-5.1-dev. Fedora: lua-devel, luajit-devel. Alpine: lua5.4-dev,"
#error "luajit-dev. macOS: brew install lua, luajit"
#endif
#endif
#include <lauxlib.h>
#include <lua.h>

#include <stdbool.h>

#if LUA_VERSION_NUM < 502
#define lua_rawlen lua_objlen
#endif
#if LUA_VERSION_NUM < 503 && !defined(LUA_LJDIR) /* LuaJIT has it, Lua 5.1 has not */
#define lua_isyieldable(L) 1
#endif
#if LUA_VERSION_NUM >= 504
#define kin_lua_class_userdata(L, size) lua_newuserdatauv(L, size, 0)
#else
#define kin_lua_class_userdata(L, size) lua_newuserdata(L, size)
#endif

/* The metatable that the results of puts share: of calls, of put_many and of receipts. */
#define KIN_LUA_RESULT_META "kinesis.result"

/* Adds functions to the table on the top. */
void kin_lua_class_add(lua_State *L, const luaL_Reg *functions);

/* Creates a metatable of that name whose __index is itself, with `methods` (NULL: none) and one
 * idempotent function for close, __gc and __close. Pushes nothing. */
void kin_lua_class_create(lua_State *L, const char *name, const luaL_Reg *methods,
                          lua_CFunction close);

/* Sets the metatable of that class for the userdata on the top. */
void kin_lua_class_set(lua_State *L, const char *name);

#endif
