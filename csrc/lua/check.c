#include "lua/check.h"

#include <stdio.h>

#include "base/openssl.h"
#include "base/text.h"

/* A number is not converted. */
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

/* How many characters; -1: not UTF-8. */
static int count_utf8(kin_slice text) {
  int count = 0;
  uint32_t code;
  for (size_t bytes; text.len > 0; count++) {
    bytes = kin_text_character(text, &code);
    if (bytes == 0)
      return -1;
    text = (kin_slice){text.at + bytes, text.len - bytes};
  }
  return count;
}

static bool make_random_key(char *random) {
  static const char digits[] = "0123456789abcdef";
  unsigned char bytes[KIN_LUA_CHECK_RANDOM_KEY / 2];
  if (RAND_bytes(bytes, sizeof bytes) != 1)
    return false;
  for (size_t i = 0; i < sizeof bytes; i++) {
    random[2 * i] = digits[bytes[i] >> 4];
    random[2 * i + 1] = digits[bytes[i] & 15];
  }
  return true;
}

const char *kin_lua_check_key(lua_State *L, int index, const char *where, kin_slice *key,
                              char *random) {
  if (random && lua_isnoneornil(L, index)) {
    *key = (kin_slice){random, KIN_LUA_CHECK_RANDOM_KEY};
    return make_random_key(random) ? NULL : "partition_key: OpenSSL has no random bytes for one";
  }
  const char *message = check_string(L, index, where, "partition_key", key);
  if (message)
    return message;
  int count = count_utf8(*key);
  if (count < 0)
    return lua_pushfstring(L, "%spartition_key is not UTF-8 text", where);
  if (count == 0)
    return lua_pushfstring(L, "%spartition_key is empty%s", where,
                           random ? "; leave it out for a random one" : "");
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

/* The fields of the record are on the stack, in this order. */
static const char *check_fields(lua_State *L, int fields, const char *where, kin_put *put,
                                char *random) {
  const char *message;
  if ((message = kin_lua_check_data(L, fields, where, &put->data)) ||
      (message = kin_lua_check_key(L, fields + 1, where, &put->partition_key, random)) ||
      (message = kin_lua_check_hash_key(L, fields + 2, where, &put->explicit_hash_key)))
    return message;
  return NULL;
}

const char *kin_lua_check_record(lua_State *L, int records, int i, kin_put *put, char *random) {
  char where[32];
  lua_rawgeti(L, records, i);
  int record = lua_gettop(L);
  if (lua_type(L, record) != LUA_TTABLE)
    return lua_pushfstring(L, "records[%d] must be a table {data=, partition_key=}, got %s", i,
                           luaL_typename(L, record));
  lua_getfield(L, record, "data");
  lua_getfield(L, record, "partition_key");
  lua_getfield(L, record, "explicit_hash_key");
  if (!check_fields(L, record + 1, "", put, random))
    return NULL;
  snprintf(where, sizeof where, "records[%d].", i); /* only a message needs it */
  return check_fields(L, record + 1, where, put, random);
}
