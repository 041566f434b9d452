#include "lua/error.h"

#include <stdarg.h>
#include <stdio.h>

#include "lua/field.h"

void kin_lua_error_push(lua_State *L, const kin_error *error) {
  lua_createtable(L, 0, 7);
  kin_lua_field_set(L, "code", kin_slice_of(error->code));
  lua_pushstring(L, error->message);
  lua_setfield(L, -2, "message");
  kin_lua_field_set(L, "operation", kin_slice_of(error->operation));
  kin_lua_field_set(L, "request_id", kin_slice_of(error->request_id));
  if (error->status != 0) {
    lua_pushinteger(L, error->status);
    lua_setfield(L, -2, "status");
  }
  lua_pushboolean(L, error->class == KIN_TRANSIENT || error->class == KIN_THROTTLED);
  lua_setfield(L, -2, "retryable");
  lua_pushboolean(L, error->class == KIN_THROTTLED);
  lua_setfield(L, -2, "throttled");
  kin_lua_class_set(L, KIN_LUA_ERROR_META);
}

int kin_lua_error_push_nil(lua_State *L, const kin_error *error) {
  lua_pushnil(L);
  kin_lua_error_push(L, error);
  return 2;
}

int kin_lua_error_push_own(lua_State *L, const char *code, const char *operation,
                           const char *format, ...) {
  kin_error error;
  char message[sizeof error.message];
  va_list list;
  va_start(list, format);
  vsnprintf(message, sizeof message, format, list);
  va_end(list);
  kin_error_clear(&error);
  kin_slice_copy(kin_slice_of(operation), error.operation, sizeof error.operation);
  kin_error_set(&error, KIN_FATAL, code, "%s", message);
  return kin_lua_error_push_nil(L, &error);
}

int kin_lua_error_push_no_memory(lua_State *L, const char *operation) {
  return kin_lua_error_push_own(L, KIN_CODE_OUT_OF_MEMORY, operation, "out of memory");
}
