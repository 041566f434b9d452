#include "lua/values.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/openssl.h"

void kin_lua_set_functions(lua_State *L, const luaL_Reg *functions) {
  for (; functions->name; functions++) {
    lua_pushcfunction(L, functions->func);
    lua_setfield(L, -2, functions->name);
  }
}

void kin_lua_new_class(lua_State *L, const char *name, const luaL_Reg *methods,
                       lua_CFunction close) {
  static const char *const closing[] = {"close", "__gc", "__close"};
  luaL_newmetatable(L, name);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  kin_lua_set_functions(L, methods);
  for (size_t i = 0; i < sizeof closing / sizeof *closing; i++) {
    lua_pushcfunction(L, close);
    lua_setfield(L, -2, closing[i]);
  }
  lua_pop(L, 1);
}

kin_slice kin_lua_field_slice(lua_State *L, int table, const char *field) {
  kin_slice slice = {0};
  lua_getfield(L, table, field);
  if (lua_type(L, -1) == LUA_TSTRING)
    slice.at = lua_tolstring(L, -1, &slice.len);
  lua_pop(L, 1);
  return slice;
}

lua_Number kin_lua_field_number(lua_State *L, int table, const char *field) {
  lua_getfield(L, table, field);
  lua_Number number = lua_tonumber(L, -1);
  lua_pop(L, 1);
  return number;
}

bool kin_lua_field_boolean(lua_State *L, int table, const char *field) {
  lua_getfield(L, table, field);
  bool is = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return is;
}

void *kin_lua_field_pointer(lua_State *L, int table, const char *field) {
  lua_getfield(L, table, field);
  void *pointer = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return pointer;
}

void kin_lua_set_slice(lua_State *L, const char *field, kin_slice value) {
  if (value.len == 0)
    return;
  lua_pushlstring(L, value.at, value.len);
  lua_setfield(L, -2, field);
}

void kin_lua_set_named(lua_State *L, int name, kin_slice value) {
  lua_pushvalue(L, name);
  lua_pushlstring(L, value.at, value.len);
  lua_rawset(L, -3);
}

/* ---- errors ---- */

void kin_lua_push_error(lua_State *L, const kin_error *error) {
  lua_createtable(L, 0, 7);
  kin_lua_set_slice(L, "code", kin_slice_of(error->code));
  lua_pushstring(L, error->message);
  lua_setfield(L, -2, "message");
  kin_lua_set_slice(L, "operation", kin_slice_of(error->operation));
  kin_lua_set_slice(L, "request_id", kin_slice_of(error->request_id));
  if (error->status != 0) {
    lua_pushinteger(L, error->status);
    lua_setfield(L, -2, "status");
  }
  lua_pushboolean(L, error->class == KIN_TRANSIENT || error->class == KIN_THROTTLED);
  lua_setfield(L, -2, "retryable");
  lua_pushboolean(L, error->class == KIN_THROTTLED);
  lua_setfield(L, -2, "throttled");
  luaL_getmetatable(L, KIN_ERROR_META);
  lua_setmetatable(L, -2);
}

int kin_lua_push_nil_error(lua_State *L, const kin_error *error) {
  lua_pushnil(L);
  kin_lua_push_error(L, error);
  return 2;
}

int kin_lua_push_own_error(lua_State *L, const char *code, const char *operation,
                           const char *format, ...) {
  kin_error error;
  char message[sizeof error.message];
  va_list list;
  va_start(list, format);
  vsnprintf(message, sizeof message, format, list);
  va_end(list);
  kin_error_clear(&error);
  kin_slice_copy(kin_slice_of(operation), error.operation, sizeof error.operation);
  kin_error_set(&error, KIN_FATAL, code, "%s", message);
  return kin_lua_push_nil_error(L, &error);
}

/* ---- checks ---- */

/* A string, and nothing that Lua would turn into one. */
static const char *check_string(lua_State *L, int index, const char *where, const char *name,
                                kin_slice *text) {
  if (lua_type(L, index) != LUA_TSTRING)
    return lua_pushfstring(L, "%s%s must be a string, got %s", where, name,
                           luaL_typename(L, index));
  text->at = lua_tolstring(L, index, &text->len);
  return NULL;
}

static bool all_of(kin_slice text, const char *also) {
  for (size_t i = 0; i < text.len; i++) {
    char c = text.at[i];
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!plain && (c == '\0' || !strchr(also, c)))
      return false;
  }
  return true;
}

const char *kin_lua_check_stream(lua_State *L, int index, kin_slice *stream) {
  const char *message = check_string(L, index, "", "stream", stream);
  if (message)
    return message;
  if (stream->len == 0)
    return lua_pushfstring(L, "stream is empty; it takes a stream's name or ARN");
  if (stream->len > 4 && memcmp(stream->at, "arn:", 4) == 0) {
    if (stream->len <= KIN_STREAM_ARN_MAX && all_of(*stream, ":/_.-") &&
        strstr(stream->at, ":kinesis:") && strstr(stream->at, ":stream/"))
      return NULL;
    return lua_pushfstring(L, "stream is no ARN of a stream "
                              "(arn:aws:kinesis:REGION:ACCOUNT:stream/NAME)");
  }
  if (stream->len > KIN_STREAM_NAME_MAX)
    return lua_pushfstring(L, "stream is %d characters long; a name has at most %d",
                           (int)stream->len, KIN_STREAM_NAME_MAX);
  if (!all_of(*stream, "_.-"))
    return lua_pushfstring(L, "stream has characters that no name has; "
                              "allowed are letters, digits, '_', '.' and '-'");
  return NULL;
}

const char *kin_lua_check_data(lua_State *L, int index, const char *where, kin_slice *data) {
  const char *message = check_string(L, index, where, "data", data);
  if (!message && data->len > KIN_RECORD_DATA_MAX)
    message = lua_pushfstring(L, "%sdata is %d bytes; a record holds at most %d (10 MiB)", where,
                              (int)data->len, KIN_RECORD_DATA_MAX);
  return message;
}

/* Characters of UTF-8 text, or -1: overlong forms and surrogates are none. */
static int count_utf8(kin_slice text) {
  const unsigned char *at = (const unsigned char *)text.at, *end = at + text.len;
  int count = 0;
  for (; at < end; count++) {
    unsigned c = *at++;
    int more = c < 0x80                ? 0
               : c >= 0xc2 && c < 0xe0 ? 1
               : c >= 0xe0 && c < 0xf0 ? 2
               : c >= 0xf0 && c < 0xf5 ? 3
                                       : -1;
    if (more < 0 || end - at < more)
      return -1;
    unsigned code = more == 0 ? c : c & (0x3fu >> more);
    for (int i = 0; i < more; i++) {
      if ((*at & 0xc0) != 0x80)
        return -1;
      code = code << 6 | (*at++ & 0x3fu);
    }
    if ((more == 2 && (code < 0x800 || (code >= 0xd800 && code < 0xe000))) ||
        (more == 3 && (code < 0x10000 || code > 0x10ffff)))
      return -1;
  }
  return count;
}

static bool make_random_key(char random[KIN_RANDOM_KEY]) {
  static const char digits[] = "0123456789abcdef";
  unsigned char bytes[KIN_RANDOM_KEY / 2];
  if (RAND_bytes(bytes, sizeof bytes) != 1)
    return false;
  for (size_t i = 0; i < sizeof bytes; i++) {
    random[2 * i] = digits[bytes[i] >> 4];
    random[2 * i + 1] = digits[bytes[i] & 15];
  }
  return true;
}

const char *kin_lua_check_key(lua_State *L, int index, const char *where, kin_slice *key,
                              char random[KIN_RANDOM_KEY]) {
  if (lua_isnoneornil(L, index)) {
    *key = (kin_slice){random, KIN_RANDOM_KEY};
    return make_random_key(random) ? NULL : "partition_key: no random bytes to make one of";
  }
  const char *message = check_string(L, index, where, "partition_key", key);
  if (message)
    return message;
  int count = count_utf8(*key);
  if (count < 0)
    return lua_pushfstring(L, "%spartition_key is not UTF-8 text", where);
  if (count == 0)
    return lua_pushfstring(L, "%spartition_key is empty; leave it out for a random one", where);
  if (count > KIN_PARTITION_KEY_MAX)
    return lua_pushfstring(L, "%spartition_key is %d characters long; the limit is %d", where,
                           count, KIN_PARTITION_KEY_MAX);
  return NULL;
}

static bool is_decimal(kin_slice text, size_t max) {
  if (text.len == 0 || text.len > max || (text.at[0] == '0' && text.len > 1))
    return false;
  for (size_t i = 0; i < text.len; i++)
    if (text.at[i] < '0' || text.at[i] > '9')
      return false;
  return true;
}

const char *kin_lua_check_hash_key(lua_State *L, int index, const char *where, kin_slice *key) {
  static const char largest[] = "340282366920938463463374607431768211455";
  *key = (kin_slice){0};
  if (lua_isnoneornil(L, index))
    return NULL;
  const char *message = check_string(L, index, where, "explicit_hash_key", key);
  if (message)
    return message;
  if (!is_decimal(*key, KIN_EXPLICIT_HASH_KEY_MAX) ||
      (key->len == KIN_EXPLICIT_HASH_KEY_MAX && memcmp(key->at, largest, key->len) > 0))
    return lua_pushfstring(L,
                           "%sexplicit_hash_key must be a decimal number from 0 to 2^128-1, "
                           "as a string",
                           where);
  return NULL;
}

const char *kin_lua_check_sequence_number(lua_State *L, int index, const char *name,
                                          kin_slice *number) {
  *number = (kin_slice){0};
  if (lua_isnoneornil(L, index))
    return NULL;
  const char *message = check_string(L, index, "", name, number);
  if (!message && !is_decimal(*number, KIN_SEQUENCE_NUMBER_MAX))
    message =
        lua_pushfstring(L, "%s must be a sequence number: a decimal number as a string", name);
  return message;
}
