#include "lua/provider_io.h"

#include "engine/fetch.h"
#include "engine/process.h"
#include "lua/error.h"

enum { FIRST = KIN_LUA_FIRST_ARGUMENT };

/* Pushes the strings of a list as one, a NUL behind each; returns how many there are. Raises when
 * one is not a string, or contains a NUL. */
static size_t join(lua_State *L, int list) {
  size_t count = lua_rawlen(L, list);
  luaL_Buffer joined;
  luaL_buffinit(L, &joined);
  for (size_t i = 1; i <= count; i++) {
    size_t len;
    lua_rawgeti(L, list, (int)i);
    const char *text = lua_tolstring(L, -1, &len);
    if (!text || strlen(text) != len)
      luaL_error(L, "a string without NUL is expected at %d", (int)i);
    luaL_addvalue(&joined);
    luaL_addlstring(&joined, "", 1);
  }
  luaL_pushresult(&joined);
  return count;
}

/* ---- fetch ---- */

static int push_response(lua_State *L, const kin_message *message) {
  const kin_request *request = (const kin_request *)message;
  if (request->error.class != KIN_OK)
    return kin_lua_error_push_nil(L, &request->error);
  lua_pushboolean(L, 1);
  lua_createtable(L, 0, 2);
  lua_pushinteger(L, request->exchange.status);
  lua_setfield(L, -2, "status");
  lua_pushlstring(L, request->exchange.answer.at, request->exchange.answer.len);
  lua_setfield(L, -2, "body");
  return 2;
}

int kin_lua_provider_io_fetch(lua_State *L, kin_engine *engine) {
  size_t head_len, body_len;
  const char *method = luaL_checkstring(L, FIRST);
  luaL_checktype(L, FIRST + 1, LUA_TTABLE);
  const char *body = luaL_optlstring(L, FIRST + 2, "", &body_len);
  kin_time timeout = kin_seconds(luaL_checknumber(L, FIRST + 3));
  kin_time connect_timeout = kin_seconds(luaL_checknumber(L, FIRST + 4));
  kin_time delay = kin_seconds(luaL_optnumber(L, FIRST + 5, 0));
  bool direct = lua_toboolean(L, FIRST + 6);
  luaL_argcheck(L, join(L, FIRST + 1) >= 1, FIRST + 1, "a URL is expected");
  const char *head = lua_tolstring(L, -1, &head_len);
  kin_lua_ticket *ticket = kin_lua_ticket_create(L, engine, body_len, NULL, push_response);
  if (!ticket)
    return 2;
  kin_fetch *fetch = kin_fetch_create(method, (kin_slice){head, head_len});
  if (fetch) {
    fetch->request.exchange.timeout = timeout;
    fetch->request.exchange.connect_timeout = connect_timeout;
    fetch->request.exchange.direct = direct;
    fetch->delay = delay;
    kin_buf_add(&fetch->request.body, body, body_len);
  }
  return kin_lua_ticket_send(L, ticket, (kin_request *)fetch, NULL);
}

/* ---- run ---- */

static int push_process_end(lua_State *L, const kin_message *message) {
  const kin_process_end *end = (const kin_process_end *)message;
  if (end->error.class != KIN_OK)
    return kin_lua_error_push_nil(L, &end->error);
  lua_pushboolean(L, 1);
  lua_createtable(L, 0, 3);
  lua_pushinteger(L, end->status);
  lua_setfield(L, -2, "status");
  lua_pushlstring(L, end->output.at, end->output.len);
  lua_setfield(L, -2, "output");
  lua_pushlstring(L, end->errors.at, end->errors.len);
  lua_setfield(L, -2, "errors");
  return 2;
}

int kin_lua_provider_io_run(lua_State *L, kin_engine *engine) {
  size_t len;
  luaL_checktype(L, FIRST, LUA_TTABLE);
  kin_time timeout = kin_seconds(luaL_checknumber(L, FIRST + 1));
  size_t count = join(L, FIRST);
  luaL_argcheck(L, count >= 1, FIRST, "a program is expected");
  const char *argv = lua_tolstring(L, -1, &len);
  kin_lua_ticket *ticket = kin_lua_ticket_create(L, engine, len, NULL, push_process_end);
  if (!ticket)
    return 2;
  if (kin_process_start(engine, (kin_slice){argv, len}, count, timeout, ticket->handle.id))
    return 1;
  kin_lua_ticket_drop(ticket);
  return kin_lua_error_push_no_memory(L, NULL);
}
