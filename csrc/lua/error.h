/* error: errors as Lua tables. Lua thread. */
#ifndef KIN_LUA_ERROR_H
#define KIN_LUA_ERROR_H

#include "base/error.h"
#include "lua/class.h"

/* The metatable that all errors share. */
#define KIN_LUA_ERROR_META "kinesis.error"

/* Pushes the error. */
void kin_lua_error_push(lua_State *L, const kin_error *error);

/* Pushes nil and the error; returns 2. */
int kin_lua_error_push_nil(lua_State *L, const kin_error *error);

/* Pushes nil and an error of the library's own; returns 2. */
int kin_lua_error_push_own(lua_State *L, const char *code, const char *operation,
                           const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Pushes nil and the error of an operation that could not be started for lack of memory; returns 2.
 */
int kin_lua_error_push_no_memory(lua_State *L, const char *operation);

#endif
