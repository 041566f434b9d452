#include "lua/json.h"

#include <limits.h>

#include "wire/json.h"

enum { DEPTH_MAX = 64, HOLES_FREE = 10 };

/* ---- reading ---- */

/* Lua 5.4 has integers; JSON does not tell 1 from 1.0. */
static void push_number(lua_State *L, double number) {
  const double exact = 9007199254740992.0; /* 2^53 */
  if (number >= -exact && number <= exact && (double)(long long)number == number &&
      sizeof(lua_Integer) == sizeof(long long))
    lua_pushinteger(L, (lua_Integer)number);
  else
    lua_pushnumber(L, number);
}

static bool push_value(lua_State *L, kin_json *json, int depth);

static bool push_object(lua_State *L, kin_json *json, int depth) {
  kin_slice key;
  lua_newtable(L);
  kin_json_object(json);
  while (kin_json_key(json, &key)) {
    lua_pushlstring(L, key.at, key.len);
    if (!push_value(L, json, depth))
      return false;
    lua_rawset(L, -3);
  }
  return !json->bad;
}

static bool push_array(lua_State *L, kin_json *json, int depth) {
  lua_newtable(L);
  kin_json_array(json);
  for (int i = 1; kin_json_item(json); i++) {
    if (!push_value(L, json, depth))
      return false;
    lua_rawseti(L, -2, i);
  }
  return !json->bad;
}

static bool push_value(lua_State *L, kin_json *json, int depth) {
  kin_slice text;
  double number;
  kin_json_kind kind = kin_json_peek(json);
  if (depth == DEPTH_MAX || !lua_checkstack(L, 4))
    return false;
  switch (kind) {
  case KIN_JSON_OBJECT:
    return push_object(L, json, depth + 1);
  case KIN_JSON_ARRAY:
    return push_array(L, json, depth + 1);
  case KIN_JSON_STRING:
    if (!kin_json_string(json, &text))
      return false;
    lua_pushlstring(L, text.at, text.len);
    return true;
  case KIN_JSON_NUMBER:
    if (!kin_json_number(json, &number))
      return false;
    push_number(L, number);
    return true;
  case KIN_JSON_TRUE:
  case KIN_JSON_FALSE:
    lua_pushboolean(L, kind == KIN_JSON_TRUE);
    return kin_json_skip(json);
  case KIN_JSON_NULL:
    lua_pushnil(L);
    return kin_json_skip(json);
  default:
    return false;
  }
}

bool kin_lua_json_push(lua_State *L, kin_buf *text) {
  kin_json json;
  int top = lua_gettop(L);
  kin_json_init(&json, text->at, text->len);
  if (push_value(L, &json, 0) && kin_json_done(&json))
    return true;
  lua_settop(L, top);
  return false;
}

/* ---- writing ---- */

static kin_slice string_at(lua_State *L, int index) {
  kin_slice text;
  text.at = lua_tolstring(L, index, &text.len);
  return text;
}

static bool is_integer_at(lua_State *L, int index) {
  lua_Number number = lua_tonumber(L, index);
  return lua_type(L, index) == LUA_TNUMBER && number >= 1 && number <= INT_MAX &&
         (lua_Number)(int)number == number;
}

/* The length of the list in the table, holes included; 0: it is no list; -1: too many holes. */
static int list_length(lua_State *L, int table) {
  int most = 0, count = 0;
  lua_pushnil(L);
  while (lua_next(L, table)) {
    lua_pop(L, 1);
    if (!is_integer_at(L, -1)) {
      lua_pop(L, 1);
      return 0;
    }
    int key = (int)lua_tonumber(L, -1);
    most = key > most ? key : most;
    count++;
  }
  return most > HOLES_FREE && most / 2 > count ? -1 : most;
}

static const char *add_value(lua_State *L, int index, kin_buf *out, int depth);

static const char *add_list(lua_State *L, int table, int length, kin_buf *out, int depth) {
  kin_buf_add(out, "[", 1);
  for (int i = 1; i <= length; i++) {
    if (i > 1)
      kin_buf_add(out, ",", 1);
    lua_rawgeti(L, table, i);
    const char *problem = add_value(L, lua_gettop(L), out, depth);
    lua_pop(L, 1);
    if (problem)
      return problem;
  }
  kin_buf_add(out, "]", 1);
  return NULL;
}

static const char *add_object(lua_State *L, int table, kin_buf *out, int depth) {
  const char *comma = "{";
  lua_pushnil(L);
  while (lua_next(L, table)) {
    const char *problem = "a table has a key that is no string";
    if (lua_type(L, -2) == LUA_TSTRING) {
      kin_buf_add(out, comma, 1);
      kin_json_add_string(out, string_at(L, -2));
      kin_buf_add(out, ":", 1);
      problem = add_value(L, lua_gettop(L), out, depth);
    }
    lua_pop(L, 1);
    if (problem) {
      lua_pop(L, 1);
      return problem;
    }
    comma = ",";
  }
  kin_buf_add_text(out, comma[0] == '{' ? "{}" : "}");
  return NULL;
}

static const char *add_table(lua_State *L, int table, kin_buf *out, int depth) {
  if (depth == DEPTH_MAX || !lua_checkstack(L, 4))
    return "tables are nested more than 64 deep, or hold themselves";
  int length = list_length(L, table);
  if (length < 0)
    return "a list has too many holes";
  return length > 0 ? add_list(L, table, length, out, depth + 1)
                    : add_object(L, table, out, depth + 1);
}

static const char *add_value(lua_State *L, int index, kin_buf *out, int depth) {
  switch (lua_type(L, index)) {
  case LUA_TNIL:
    kin_buf_add_text(out, "null");
    return NULL;
  case LUA_TBOOLEAN:
    kin_buf_add_text(out, lua_toboolean(L, index) ? "true" : "false");
    return NULL;
  case LUA_TNUMBER:
    return kin_json_add_number(out, lua_tonumber(L, index))
               ? NULL
               : "a number is infinite or not a number";
  case LUA_TSTRING:
    kin_json_add_string(out, string_at(L, index));
    return NULL;
  case LUA_TTABLE:
    return add_table(L, index, out, depth);
  case LUA_TLIGHTUSERDATA: /* the null of lua-cjson */
    if (!lua_touserdata(L, index)) {
      kin_buf_add_text(out, "null");
      return NULL;
    }
    return "a userdata has no JSON";
  default:
    return "a function, a thread or a userdata has no JSON";
  }
}

const char *kin_lua_json_add(lua_State *L, int index, kin_buf *out) {
  return add_value(L, index, out, 0);
}
