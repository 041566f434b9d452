/* handle: a userdata that answers arrive for: a ticket, a reader. The client's drain puts them into
 * its inbox; its methods take them out. Lua thread only. */
#ifndef KIN_LUA_HANDLE_H
#define KIN_LUA_HANDLE_H

#include "engine/engine.h"
#include "lua/class.h"

typedef struct kin_lua_handle {
  kin_engine *engine; /* counted; NULL once closed */
  uint64_t id;
  kin_message_list inbox;
} kin_lua_handle;

/* Makes the table of handles, which holds them weakly: an abandoned one is collected. */
void kin_lua_handle_open(lua_State *L);

/* A zeroed userdata of that size and class, known by its id, holding the engine; on the stack. */
kin_lua_handle *kin_lua_handle_create(lua_State *L, size_t size, const char *class,
                                      kin_engine *engine);

/* The handle of that id; NULL when it was collected, or there is none. */
kin_lua_handle *kin_lua_handle_find(lua_State *L, uint64_t id);

/* Drops what arrived and the engine. Idempotent. */
void kin_lua_handle_close(kin_lua_handle *handle);

/* Gives the message to its handle, or frees it when that is gone. */
void kin_lua_handle_deliver(lua_State *L, kin_message *message);

/* Pushes nil and why the engine cannot be used: forked, or closed. 0 when it can. */
int kin_lua_handle_push_gone(lua_State *L, const kin_engine *engine, const char *operation);

/* handle:id() */
int kin_lua_handle_id(lua_State *L, const kin_lua_handle *handle);

#endif
