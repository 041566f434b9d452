#include "lua/window_pool.h"

#define WINDOW_POOL "kinesis.window_pool"

static int close_pool(lua_State *L) {
  kin_window_pool **held = luaL_checkudata(L, 1, WINDOW_POOL);
  kin_window_pool_release(*held);
  *held = NULL;
  return 0;
}

int kin_lua_window_pool_push(lua_State *L) {
  size_t bytes = (size_t)luaL_checknumber(L, 1);
  kin_window_pool **held = kin_lua_class_userdata(L, sizeof *held);
  *held = NULL;
  kin_lua_class_set(L, WINDOW_POOL);
  *held = kin_window_pool_create(bytes);
  return *held ? 1 : luaL_error(L, "not enough memory");
}

kin_window_pool *kin_lua_window_pool_field(lua_State *L, int table, const char *field) {
  lua_getfield(L, table, field);
  kin_window_pool **held = lua_isnil(L, -1) ? NULL : luaL_checkudata(L, -1, WINDOW_POOL);
  lua_pop(L, 1);
  return held ? *held : NULL;
}

void kin_lua_window_pool_open(lua_State *L) {
  kin_lua_class_create(L, WINDOW_POOL, NULL, close_pool);
}
