/* field: fields of Lua tables. Lua thread. */
#ifndef KIN_LUA_FIELD_H
#define KIN_LUA_FIELD_H

#include "base/bytes.h"
#include "lua/class.h"

/* Of the table at the index `table`. Empty, "", 0, false or NULL when the field is absent or of
 * another type. The table keeps a slice or text alive. */
kin_slice kin_lua_field_slice(lua_State *L, int table, const char *field);
const char *kin_lua_field_text(lua_State *L, int table, const char *field);
lua_Number kin_lua_field_number(lua_State *L, int table, const char *field);
bool kin_lua_field_boolean(lua_State *L, int table, const char *field);
void *kin_lua_field_pointer(lua_State *L, int table, const char *field);

/* Sets a field of the table on the top, unless the value is empty. */
void kin_lua_field_set(lua_State *L, const char *field, kin_slice value);

/* Sets a field of the new table on the top; `name` is the stack index of the field's name. For
 * tables that are created by the thousand: a C string would be hashed again for each. */
void kin_lua_field_set_named(lua_State *L, int name, kin_slice value);

#endif
