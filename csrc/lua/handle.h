/* handle: the common part of userdata that the engine sends messages to: tickets, readers,
 * producers. client:drain() puts the messages into the handle's inbox; the methods of the userdata
 * take them out. Owned by Lua; Lua thread. */
#ifndef KIN_LUA_HANDLE_H
#define KIN_LUA_HANDLE_H

#include "engine/engine.h"
#include "lua/class.h"

typedef struct kin_lua_handle kin_lua_handle;
struct kin_lua_handle {
  kin_engine *engine; /* counted; NULL once closed */
  uint64_t id;
  kin_message_list inbox;
  /* Takes a message that must not wait in the inbox: true. NULL: all go there. */
  bool (*arrive)(kin_lua_handle *handle, kin_message *message);
};

/* Creates the table of handles by id, which is weak. */
void kin_lua_handle_open(lua_State *L);

/* Pushes a zeroed userdata of that size and class, with a fresh id and an engine reference. */
kin_lua_handle *kin_lua_handle_create(lua_State *L, size_t size, const char *class,
                                      kin_engine *engine);

/* NULL when there is no handle of that id, or it was collected. */
kin_lua_handle *kin_lua_handle_find(lua_State *L, uint64_t id);

/* Frees the inbox and releases the engine. Idempotent. */
void kin_lua_handle_close(kin_lua_handle *handle);

/* Takes the message: puts it into the inbox of its handle, or frees it when there is none. */
void kin_lua_handle_deliver(lua_State *L, kin_message *message);

/* Pushes nil and an error and returns 2 when the engine is the parent process's, or closed; else
 * returns 0. */
int kin_lua_handle_push_gone(lua_State *L, kin_engine *engine, const char *operation);

/* handle:id() */
int kin_lua_handle_id(lua_State *L, const kin_lua_handle *handle);

#endif
