#include "lua/field.h"

kin_slice kin_lua_field_slice(lua_State *L, int table, const char *field) {
  kin_slice slice = {0};
  lua_getfield(L, table, field);
  if (lua_type(L, -1) == LUA_TSTRING)
    slice.at = lua_tolstring(L, -1, &slice.len);
  lua_pop(L, 1);
  return slice;
}

const char *kin_lua_field_text(lua_State *L, int table, const char *field) {
  kin_slice text = kin_lua_field_slice(L, table, field);
  return text.at ? text.at : "";
}

lua_Number kin_lua_field_number(lua_State *L, int table, const char *field) {
  lua_getfield(L, table, field);
  lua_Number number = lua_tonumber(L, -1);
  lua_pop(L, 1);
  return number;
}

bool kin_lua_field_boolean(lua_State *L, int table, const char *field) {
  lua_getfield(L, table, field);
  bool is = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return is;
}

void *kin_lua_field_pointer(lua_State *L, int table, const char *field) {
  lua_getfield(L, table, field);
  void *pointer = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return pointer;
}

void kin_lua_field_set(lua_State *L, const char *field, kin_slice value) {
  if (value.len == 0)
    return;
  lua_pushlstring(L, value.at, value.len);
  lua_setfield(L, -2, field);
}

void kin_lua_field_set_named(lua_State *L, int name, kin_slice value) {
  lua_pushvalue(L, name);
  lua_pushlstring(L, value.at, value.len);
  lua_rawset(L, -3);
}
