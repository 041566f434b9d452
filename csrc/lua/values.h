/* args: what every binding room needs of Lua: the differences between 5.4 and LuaJIT, checks that
 * name the argument, errors as tables. A check never raises: it answers with a message, so that the
 * Lua side can raise at its caller's line. */
#ifndef KIN_LUA_VALUES_H
#define KIN_LUA_VALUES_H

#ifdef __has_include
#if !__has_include(<lua.h>)
#error "<lua.h> is missing. Debian: liblua5.4-dev; for LuaJIT libluajit-5.1-dev or, beside"
#error "luajit2, libluajit2-5.1-dev. Fedora: lua-devel, luajit-devel. Alpine: lua5.4-dev,"
#error "luajit-dev. macOS: brew install lua, luajit"
#endif
#endif
#include <lauxlib.h>
#include <lua.h>

#include "base/error.h"
#include "wire/put_records.h"

#if LUA_VERSION_NUM < 502
#define lua_rawlen lua_objlen
#endif
#if LUA_VERSION_NUM >= 504
#define kin_lua_new_userdata(L, size) lua_newuserdatauv(L, size, 0)
#else
#define kin_lua_new_userdata(L, size) lua_newuserdata(L, size)
#endif

#define KIN_ERROR_META "kinesis.error"
#define KIN_RECORD_META "kinesis.record"
#define KIN_RESULT_META "kinesis.result"

/* Adds functions to the table on the top. */
void kin_lua_set_functions(lua_State *L, const luaL_Reg *functions);

/* A metatable of that name whose __index is itself, with `methods` and one function for close,
 * __gc and __close. Leaves nothing on the stack. */
void kin_lua_new_class(lua_State *L, const char *name, const luaL_Reg *methods,
                       lua_CFunction close);

/* Members of a table that Lua has checked: empty, 0, false, NULL where there is none. The table
 * keeps a slice alive. */
kin_slice kin_lua_field_slice(lua_State *L, int table, const char *field);
lua_Number kin_lua_field_number(lua_State *L, int table, const char *field);
bool kin_lua_field_boolean(lua_State *L, int table, const char *field);
void *kin_lua_field_pointer(lua_State *L, int table, const char *field);

void kin_lua_set_slice(lua_State *L, const char *field,
                       kin_slice value); /* nothing when it is empty */

/* Into the new table on the top, by the index of the field's name: in tables that are made by the
 * thousand, a name of C would be looked up again for each. */
void kin_lua_set_named(lua_State *L, int name, kin_slice value);

/* Pushes nil and the error table. */
int kin_lua_push_nil_error(lua_State *L, const kin_error *error);
int kin_lua_push_own_error(lua_State *L, const char *code, const char *operation,
                           const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Pushes nil and the error of an operation that could not be started for lack of memory. */
int kin_lua_push_no_memory(lua_State *L, const char *operation);

/* Pushes the error table alone. */
void kin_lua_push_error(lua_State *L, const kin_error *error);

/* ---- checks: NULL when all is well, else the message, which lives on the Lua stack ---- */

const char *kin_lua_check_stream(lua_State *L, int index, kin_slice *stream);

/* What comes in front of a name: "" or "records[3].". */
const char *kin_lua_check_data(lua_State *L, int index, const char *where, kin_slice *data);

/* Absent: a random key is written to `random`, and the slice points there. */
enum { KIN_RANDOM_KEY = 24 };
const char *kin_lua_check_key(lua_State *L, int index, const char *where, kin_slice *key,
                              char random[KIN_RANDOM_KEY]);

/* Absent: empty. */
const char *kin_lua_check_hash_key(lua_State *L, int index, const char *where, kin_slice *key);
const char *kin_lua_check_sequence_number(lua_State *L, int index, const char *name,
                                          kin_slice *number);

#endif
