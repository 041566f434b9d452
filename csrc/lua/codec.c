#include "lua/codec.h"

#include <stdio.h>

#include "base/openssl.h"
#include "lua/aggregates.h"
#include "lua/field.h"
#include "lua/json.h"
#include "lua/record.h"
#include "wire/base64.h"
#include "wire/put_records.h"
#include "wire/sigv4.h"

enum { HEADERS_MAX = 64, TEXT_MAX = 64 << 20 };

/* A buffer that Lua collects, so that it is freed when Lua raises. */
#define BUFFER "kinesis.buffer"

static int close_buffer(lua_State *L) {
  kin_buf_free(luaL_checkudata(L, 1, BUFFER));
  return 0;
}

static kin_buf *new_buffer(lua_State *L) {
  kin_buf *buf = kin_lua_class_userdata(L, sizeof *buf);
  kin_buf_init(buf, TEXT_MAX);
  kin_lua_class_set(L, BUFFER);
  return buf;
}

static kin_buf *copy_argument(lua_State *L, int index) {
  size_t len;
  const char *text = luaL_checklstring(L, index, &len);
  kin_buf *buf = new_buffer(L);
  kin_buf_add(buf, text, len);
  if (!kin_buf_text(buf))
    luaL_error(L, "out of memory");
  return buf;
}

static int push_buffer(lua_State *L, const kin_buf *buf) {
  if (buf->failed)
    return luaL_error(L, "out of memory");
  lua_pushlstring(L, buf->at ? buf->at : "", buf->len);
  return 1;
}

static int base64_encode(lua_State *L) {
  kin_slice bytes;
  bytes.at = luaL_checklstring(L, 1, &bytes.len);
  kin_buf *buf = new_buffer(L);
  kin_base64_add(buf, bytes);
  return push_buffer(L, buf);
}

/* base64_decode(text) -> bytes | nil, message */
static int base64_decode(lua_State *L) {
  kin_buf *buf = copy_argument(L, 1);
  kin_slice bytes;
  if (!kin_base64_decode(buf->at, &bytes, buf->len)) {
    lua_pushnil(L);
    lua_pushliteral(L, "not base64");
    return 2;
  }
  lua_pushlstring(L, bytes.at, bytes.len);
  return 1;
}

/* json_decode(text) -> value (nulls are left out) | nothing: malformed */
static int json_decode(lua_State *L) {
  kin_buf *text = copy_argument(L, 1);
  return kin_lua_json_push(L, text) ? 1 : 0;
}

/* json_encode(value) -> text | nil, what has no JSON */
static int json_encode(lua_State *L) {
  lua_settop(L, 1);
  kin_buf *text = new_buffer(L);
  const char *problem = kin_lua_json_add(L, 1, text);
  if (!problem)
    return push_buffer(L, text);
  lua_pushnil(L);
  lua_pushstring(L, problem);
  return 2;
}

/* get_records(body) -> {records=, next_iterator=, millis_behind=, children={{id=, parents=}}} or
 * nil */
static int get_records(lua_State *L) {
  kin_buf *body = copy_argument(L, 1);
  kin_page page;
  bool out_of_memory;
  if (!kin_get_records_read(&page, body, &out_of_memory)) {
    lua_pushnil(L);
    return 1;
  }
  *body = page.body; /* Lua collects it; the arrays leak when Lua raises before they are freed */
  page.body = (kin_buf){0};
  lua_settop(L, 2);
  kin_lua_fields fields;
  kin_lua_fields_read(L, 3, &fields);
  lua_pushliteral(L, "");
  lua_createtable(L, 0, 4);
  lua_createtable(L, (int)page.record_count, 0);
  for (size_t i = 0; i < page.record_count; i++) {
    kin_delivery delivery = kin_delivery_of(&page.records[i]);
    kin_lua_record_push(L, &delivery, &fields, 3);
    lua_rawseti(L, -2, (int)(i + 1));
  }
  lua_setfield(L, -2, "records");
  lua_pushnumber(L, page.millis_behind);
  lua_setfield(L, -2, "millis_behind");
  kin_lua_field_set(L, "next_iterator", page.next_iterator);
  lua_createtable(L, (int)page.child_count, 0);
  for (size_t i = 0; i < page.child_count; i++) {
    lua_createtable(L, 0, 2);
    kin_lua_field_set(L, "id", page.children[i].id);
    kin_lua_field_set(L, "parent_id", page.children[i].parents[0]);
    kin_lua_field_set(L, "adjacent_parent_id", page.children[i].parents[1]);
    lua_rawseti(L, -2, (int)(i + 1));
  }
  lua_setfield(L, -2, "children");
  kin_page_free(&page);
  return 1;
}

/* put_results(body, count) -> {{shard_id=, sequence_number=, code=, message=}} | nil */
static int put_results(lua_State *L) {
  kin_put_result results[KIN_PUT_RECORDS_MAX];
  kin_buf *body = copy_argument(L, 1);
  lua_Integer count = luaL_checkinteger(L, 2);
  kin_slice encryption;
  luaL_argcheck(L, count >= 0 && count <= KIN_PUT_RECORDS_MAX, 2, "0 to 500");
  if (!kin_put_records_read(body->at, body->len, results, (size_t)count, &encryption)) {
    lua_pushnil(L);
    return 1;
  }
  lua_createtable(L, (int)count, 0);
  for (lua_Integer i = 0; i < count; i++) {
    lua_createtable(L, 0, 4);
    kin_lua_field_set(L, "shard_id", results[i].shard_id);
    kin_lua_field_set(L, "sequence_number", results[i].sequence_number);
    kin_lua_field_set(L, "code", results[i].code);
    kin_lua_field_set(L, "message", results[i].message);
    lua_rawseti(L, -2, (int)(i + 1));
  }
  return 1;
}

static const char *field_or(lua_State *L, const char *field, const char *otherwise) {
  kin_slice text = kin_lua_field_slice(L, 1, field);
  return text.at ? text.at : otherwise;
}

#define SIGNER "kinesis.signer"

static int close_signer(lua_State *L) {
  kin_sigv4 **signer = luaL_checkudata(L, 1, SIGNER);
  kin_sigv4_destroy(*signer);
  *signer = NULL;
  return 0;
}

/* sign{access_key_id=, secret_access_key=, region=, service=, date="20130524T000000Z", method=,
 * path=, query=, headers={{name, value}, …} (sorted, lower case), payload=}
 * -> Authorization, canonical request, string to sign */
static int sign(lua_State *L) {
  kin_header headers[HEADERS_MAX];
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  kin_sigv4 **signer = kin_lua_class_userdata(L, sizeof *signer);
  *signer = NULL;
  kin_lua_class_set(L, SIGNER);
  kin_buf *canonical = new_buffer(L), *to_sign = new_buffer(L), *authorization = new_buffer(L);
  kin_sigv4_request request = {
      .method = field_or(L, "method", "POST"),
      .path = kin_slice_of(field_or(L, "path", "/")),
      .query = kin_lua_field_slice(L, 1, "query"),
      .headers = headers,
      .payload = kin_lua_field_slice(L, 1, "payload"),
  };
  kin_credentials credentials = {field_or(L, "access_key_id", ""),
                                 field_or(L, "secret_access_key", ""), NULL};
  const char *date = field_or(L, "date", "");
  luaL_argcheck(L, strlen(date) == KIN_SIGV4_DATE - 1, 1, "date");
  lua_getfield(L, 1, "headers");
  luaL_argcheck(L, lua_istable(L, -1), 1, "headers must be a list");
  int list = lua_gettop(L);
  request.header_count = lua_rawlen(L, list);
  luaL_argcheck(L, request.header_count <= HEADERS_MAX, 1, "too many headers");
  for (size_t i = 0; i < request.header_count; i++) {
    lua_rawgeti(L, list, (int)(i + 1));
    luaL_argcheck(L, lua_istable(L, -1), 1, "a header must be {name, value}");
    lua_rawgeti(L, -1, 1);
    lua_rawgeti(L, -2, 2);
    luaL_argcheck(L, lua_type(L, -1) == LUA_TSTRING && lua_type(L, -2) == LUA_TSTRING, 1,
                  "a header must be two strings");
    headers[i].name.at = lua_tolstring(L, -2, &headers[i].name.len);
    headers[i].value.at = lua_tolstring(L, -1, &headers[i].value.len);
    lua_pop(L, 3); /* the list keeps them alive */
  }
  *signer = kin_sigv4_create(kin_slice_of(field_or(L, "region", "")),
                             kin_slice_of(field_or(L, "service", "kinesis")));
  if (!*signer)
    return luaL_error(L, "out of memory");
  kin_sigv4_canonical(*signer, &request, canonical);
  kin_sigv4_string_to_sign(*signer, date, kin_buf_slice(canonical), to_sign);
  if (!kin_sigv4_sign(*signer, &credentials, date, &request, authorization))
    return luaL_error(L, "cannot sign");
  return push_buffer(L, authorization) + push_buffer(L, canonical) + push_buffer(L, to_sign);
}

/* sha1(text) -> 40 hexadecimal digits; the AWS CLI names its token files so */
static int sha1(lua_State *L) {
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len);
  unsigned char digest[EVP_MAX_MD_SIZE];
  char hex[2 * EVP_MAX_MD_SIZE + 1];
  unsigned digest_len = 0;
  if (!EVP_Digest(text, len, digest, &digest_len, EVP_sha1(), NULL))
    return luaL_error(L, "OpenSSL has no SHA-1");
  for (unsigned i = 0; i < digest_len; i++)
    snprintf(hex + 2 * (size_t)i, 3, "%02x", digest[i]);
  lua_pushlstring(L, hex, 2 * (size_t)digest_len);
  return 1;
}

void kin_lua_codec_push(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"base64_encode", base64_encode},
      {"base64_decode", base64_decode},
      {"json_decode", json_decode},
      {"json_encode", json_encode},
      {"put_results", put_results},
      {"sign", sign},
      {"sha1", sha1},
      {NULL, NULL},
  };
  kin_lua_class_create(L, BUFFER, NULL, close_buffer);
  kin_lua_class_create(L, SIGNER, NULL, close_signer);
  lua_newtable(L);
  kin_lua_class_add(L, functions);
  kin_lua_aggregates_push(L);
  kin_lua_record_push_function(L, get_records);
  lua_setfield(L, -2, "get_records");
}
