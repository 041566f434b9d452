/* check: checks of arguments. A check does not raise: it returns a message (on the Lua stack, which
 * keeps it alive), or NULL when the argument is right; the Lua modules raise it at their caller's
 * line. `where` precedes a name in a message: "" or "records[3].". Lua thread. */
#ifndef KIN_LUA_CHECK_H
#define KIN_LUA_CHECK_H

#include "lua/class.h"
#include "wire/put_records.h"

enum { KIN_LUA_CHECK_RANDOM_KEY = 24 };

const char *kin_lua_check_stream(lua_State *L, int index, kin_slice *stream);
const char *kin_lua_check_data(lua_State *L, int index, const char *where, kin_slice *data);

/* Absent: a random key is written to `random`; with `random` NULL a key must be there. */
const char *kin_lua_check_key(lua_State *L, int index, const char *where, kin_slice *key,
                              char *random);

/* Absent: empty. */
const char *kin_lua_check_hash_key(lua_State *L, int index, const char *where, kin_slice *key);
const char *kin_lua_check_sequence_number(lua_State *L, int index, const char *name,
                                          kin_slice *number);

/* Pushes records[i] and its fields, which keep the slices of `put` alive. `random` as above. */
const char *kin_lua_check_record(lua_State *L, int records, int i, kin_put *put, char *random);

#endif
