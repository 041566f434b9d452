#include "lua/class.h"

void kin_lua_class_add(lua_State *L, const luaL_Reg *functions) {
  for (; functions->name; functions++) {
    lua_pushcfunction(L, functions->func);
    lua_setfield(L, -2, functions->name);
  }
}

void kin_lua_class_create(lua_State *L, const char *name, const luaL_Reg *methods,
                          lua_CFunction close) {
  static const char *const closing[] = {"close", "__gc", "__close"};
  luaL_newmetatable(L, name);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  if (methods)
    kin_lua_class_add(L, methods);
  for (size_t i = 0; i < sizeof closing / sizeof *closing; i++) {
    lua_pushcfunction(L, close);
    lua_setfield(L, -2, closing[i]);
  }
  lua_pop(L, 1);
}

void kin_lua_class_set(lua_State *L, const char *name) {
  luaL_getmetatable(L, name);
  lua_setmetatable(L, -2);
}
