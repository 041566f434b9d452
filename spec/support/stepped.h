/* stepped: what its parts know of each other. */
#ifndef KIN_SPEC_STEPPED_H
#define KIN_SPEC_STEPPED_H

#include <lauxlib.h>
#include <lua.h>

#include "engine/engine.h"

#if LUA_VERSION_NUM < 502
#define lua_rawlen lua_objlen
#define lua_newuserdatauv(L, size, values) lua_newuserdata(L, size)
#endif

/* The engine that is the first argument; raises when it was closed. */
kin_engine *stepped_engine(lua_State *L);

/* Members of tables: what stands there, or `otherwise`. A table keeps its texts alive; absent: .at
 * is NULL. */
lua_Number stepped_number(lua_State *L, int table, const char *field, lua_Number otherwise);
bool stepped_boolean(lua_State *L, int table, const char *field);
kin_slice stepped_text(lua_State *L, int table, const char *field);

/* Into the table on the top; a text without .at is left out. */
void stepped_set_text(lua_State *L, const char *field, kin_slice text);

/* engine:producer{stream=, …} -> producer, see stepped_producer.c */
int stepped_producer(lua_State *L);
void stepped_producer_open(lua_State *L);

/* The table of stepped_codec.c. */
void stepped_push_codec(lua_State *L);

#endif
