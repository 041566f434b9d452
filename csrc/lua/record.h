/* record: a user record of a page as Lua values: a table of its raw fields, several values, or a
 * row of columns. Lua thread. */
#ifndef KIN_LUA_RECORD_H
#define KIN_LUA_RECORD_H

#include "consumer/cursor.h"
#include "lua/class.h"

/* The metatable that all records share. */
#define KIN_LUA_RECORD_META "kinesis.record"

enum { KIN_LUA_FIELDS_MAX = 8 };

/* Which fields of a record are wanted, in which order. */
typedef struct kin_lua_fields {
  size_t count;
  unsigned char list[KIN_LUA_FIELDS_MAX];
} kin_lua_fields;

/* Reads a list of names at this index; nil: all fields. Lua has checked the names. */
void kin_lua_fields_read(lua_State *L, int index, kin_lua_fields *fields);

/* Pushes `function` as a closure that may call the functions below: its upvalues are the names of
 * the fields and the metatable. */
void kin_lua_record_push_function(lua_State *L, lua_CFunction function);

/* Pushes the record as a table; absent fields are left out. `shard_id` is the stack index of the
 * shard's id. */
void kin_lua_record_push(lua_State *L, const kin_delivery *delivery, const kin_lua_fields *fields,
                         int shard_id);

/* Pushes the fields as so many values; an absent one is nil. */
void kin_lua_record_push_values(lua_State *L, const kin_delivery *delivery,
                                const kin_lua_fields *fields, int shard_id);

/* Pushes a table of columns, one for each field, and then the columns. */
void kin_lua_record_push_columns(lua_State *L, const kin_lua_fields *fields, int rows);

/* Sets one row, from 1, of the columns that begin at the stack index `columns`; an absent field is
 * false. */
void kin_lua_record_set_row(lua_State *L, const kin_delivery *delivery,
                            const kin_lua_fields *fields, int shard_id, int columns, int row);

#endif
