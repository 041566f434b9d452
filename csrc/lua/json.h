/* json: Lua values from and to JSON, whatever the locale of the process. Lua thread. */
#ifndef KIN_LUA_JSON_H
#define KIN_LUA_JSON_H

#include "base/bytes.h"
#include "lua/class.h"

/* Pushes the value of a JSON text, which is decoded in place. Nulls are left out of objects and
 * arrays. False, and nothing is pushed: the text is malformed, or nested too deeply. */
bool kin_lua_json_push(lua_State *L, kin_buf *text);

/* Appends the value at `index` as JSON. NULL, or what cannot be written. Raises nothing. An empty
 * table is an object; a list may have few holes, which become nulls. */
const char *kin_lua_json_add(lua_State *L, int index, kin_buf *out);

#endif
