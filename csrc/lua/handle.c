#include "lua/handle.h"

#include <string.h>

#include "lua/error.h"

static char handles; /* its address is the registry key */

void kin_lua_handle_open(lua_State *L) {
  lua_pushlightuserdata(L, &handles);
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "v");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_rawset(L, LUA_REGISTRYINDEX);
}

static void push_handles(lua_State *L) {
  lua_pushlightuserdata(L, &handles);
  lua_rawget(L, LUA_REGISTRYINDEX);
}

kin_lua_handle *kin_lua_handle_create(lua_State *L, size_t size, const char *class,
                                      kin_engine *engine) {
  kin_lua_handle *handle = kin_lua_class_userdata(L, size);
  memset(handle, 0, size);
  kin_message_list_init(&handle->inbox);
  handle->id = kin_engine_id();
  kin_lua_class_set(L, class);
  push_handles(L);
  lua_pushnumber(L, (lua_Number)handle->id);
  lua_pushvalue(L, -3);
  lua_rawset(L, -3);
  lua_pop(L, 1);
  kin_engine_hold(engine);
  handle->engine = engine;
  return handle;
}

void kin_lua_handle_close(kin_lua_handle *handle) {
  kin_engine *engine = handle->engine;
  if (!engine)
    return;
  handle->engine = NULL;
  if (kin_engine_forked(engine))
    return; /* the messages are the parent's, as are the locks that freeing them takes */
  kin_message_list_free(&handle->inbox);
  kin_engine_release(engine);
}

kin_lua_handle *kin_lua_handle_find(lua_State *L, uint64_t id) {
  push_handles(L);
  lua_pushnumber(L, (lua_Number)id);
  lua_rawget(L, -2);
  kin_lua_handle *handle = lua_touserdata(L, -1);
  lua_pop(L, 2);
  return handle;
}

void kin_lua_handle_deliver(lua_State *L, kin_message *message) {
  kin_lua_handle *handle = kin_lua_handle_find(L, message->owner);
  if (!handle || !handle->engine) {
    kin_message_free(message);
    return;
  }
  if (!handle->arrive || !handle->arrive(handle, message))
    kin_message_list_add(&handle->inbox, message);
}

int kin_lua_handle_push_gone(lua_State *L, kin_engine *engine, const char *operation) {
  if (engine && kin_engine_forked(engine))
    return kin_lua_error_push_own(L, "Forked", operation,
                                  "the client was made before a fork and cannot be used in the "
                                  "child; make a new one there (kinesis.client or "
                                  "kinesis.configure)");
  if (!engine || kin_engine_stopped(engine))
    return kin_lua_error_push_own(L, "Closed", operation, "the client was closed");
  kin_engine_note_invocation(engine); /* whatever sends something begins here */
  return 0;
}

int kin_lua_handle_id(lua_State *L, const kin_lua_handle *handle) {
  lua_pushnumber(L, (lua_Number)handle->id);
  return 1;
}
