/* The part of a reader's userdata that pauses it, resumes it and moves it to other positions, by
 * commands to the engine (consumer/commands.h). */
#include "lua/error.h"
#include "lua/field.h"
#include "lua/reader.h"

enum { WHOLE = 2, SHARDS, HOLDER, POSITIONS };

/* Commands that have not returned. */
enum { COMMANDS_MAX = 64 };

/* ---- arrivals ---- */

/* Drops what the command has made void. The window has the bytes of those pages again. */
static void drop_stale(kin_lua_reader *r, kin_command_message *command) {
  kin_message_list all = r->handle.inbox;
  const kin_message *first = all.first;
  if (!first)
    return;
  kin_command_sort(command);
  kin_message_list_init(&r->handle.inbox);
  while (all.first) {
    kin_message *message = kin_message_list_take(&all);
    if (kin_command_is_stale(command, message))
      kin_message_free(message);
    else
      kin_message_list_add(&r->handle.inbox, message);
  }
  if (!r->cursor.page && r->handle.inbox.first != first)
    r->event_returned = false;
}

/* In drains. */
bool kin_lua_reader_arrive(kin_lua_handle *handle, kin_message *message) {
  kin_lua_reader *r = (kin_lua_reader *)handle;
  if (message->kind == KIN_MESSAGE_APPLIED) {
    r->applied = ((kin_command_message *)message)->number;
    drop_stale(r, (kin_command_message *)message);
  } else if (message->kind == KIN_MESSAGE_READY) {
    kin_ready_message *ready = (kin_ready_message *)message;
    r->ready = ready->commands >= r->latest; /* else it is not about the last ones */
    r->start = ready->start;
  } else if (message->kind == KIN_MESSAGE_TROUBLE) {
    r->failed |= ((kin_trouble_message *)message)->level == KIN_TROUBLE_FATAL;
    return false;
  } else if (message->kind != KIN_MESSAGE_PAUSED) {
    return false;
  }
  kin_message_free(message);
  return true;
}

/* ---- commands ---- */

/* {id=, command="pause"|"resume"|"seek", ended=, and for "pause" and "seek" a position}. False when
 * memory is out. */
static bool add_shard(lua_State *L, kin_lua_reader *r, int table) {
  kin_slice name = kin_lua_field_slice(L, table, "command");
  kin_command_kind kind = kin_slice_is(name, "pause")    ? KIN_COMMAND_PAUSE
                          : kin_slice_is(name, "resume") ? KIN_COMMAND_RESUME
                                                         : KIN_COMMAND_SEEK;
  kin_shard_command *each = kin_command_add(r->draft, kin_lua_field_slice(L, table, "id"), kind);
  if (!each)
    return false;
  each->ended = kin_lua_field_boolean(L, table, "ended");
  if (kind != KIN_COMMAND_RESUME)
    each->to_end = kin_lua_reader_read_from(L, table, &each->from);
  return true;
}

/* The page that is being delivered is void when its shard is moved. */
static void close_page(kin_lua_reader *r, const kin_command_message *command) {
  for (size_t i = 0; r->cursor.page && i < command->count; i++) {
    if (!kin_command_moves(&command->shards[i]) ||
        strcmp(command->shards[i].shard_id, r->cursor.page->shard_id) != 0)
      continue;
    kin_cursor_close(&r->cursor);
    r->left = -1;
    r->event_returned = false;
  }
}

static void publish(kin_lua_reader *r) {
  kin_command_message *command = r->draft;
  r->draft = NULL;
  r->commands++;
  close_page(r, command);
  for (size_t i = 0; i < command->count; i++) {
    if (command->shards[i].kind != KIN_COMMAND_SEEK ||
        command->shards[i].from.kind != KIN_FROM_LATEST || command->shards[i].to_end)
      continue;
    r->latest = command->number;
    r->ready = false;
  }
  if (command->whole != KIN_WHOLE_KEEP)
    r->paused = command->whole == KIN_WHOLE_PAUSE;
  kin_engine_post(r->handle.engine, &command->message);
}

static int push_draft(lua_State *L, kin_lua_reader *r, size_t count) {
  if (r->draft)
    kin_message_free(&r->draft->message);
  r->draft = kin_command_create(r->handle.id, r->commands + 1, count);
  return r->draft ? 0 : kin_lua_error_push_no_memory(L, "GetRecords");
}

/* reader:command(whole, shards, holder, positions) -> true | nil, error
 *
 * `whole`: "keep", "pause", "resume", or "everything": resume it and all its shards. `shards`: a
 * list, see add_shard; nil: none. Sets holder.positions in the moment in which the command counts:
 * an error that is thrown into Lua comes before both or after both. */
static int command(lua_State *L) {
  kin_lua_reader *r = luaL_checkudata(L, 1, KIN_LUA_READER);
  const char *whole = luaL_checkstring(L, WHOLE);
  size_t count = lua_istable(L, SHARDS) ? lua_rawlen(L, SHARDS) : 0;
  luaL_checktype(L, HOLDER, LUA_TTABLE);
  luaL_checktype(L, POSITIONS, LUA_TTABLE);
  int gone = kin_lua_handle_push_gone(L, r->handle.engine, "GetRecords");
  if (gone > 0 || (gone = push_draft(L, r, count)) > 0)
    return gone;
  r->draft->everything = strcmp(whole, "everything") == 0;
  r->draft->whole = strcmp(whole, "keep") == 0    ? KIN_WHOLE_KEEP
                    : strcmp(whole, "pause") == 0 ? KIN_WHOLE_PAUSE
                                                  : KIN_WHOLE_RESUME;
  for (size_t i = 1; i <= count; i++) {
    lua_rawgeti(L, SHARDS, (int)i);
    luaL_checktype(L, -1, LUA_TTABLE);
    if (!add_shard(L, r, lua_gettop(L)))
      return kin_lua_error_push_no_memory(L, "GetRecords");
    lua_pop(L, 1);
  }
  lua_pushvalue(L, POSITIONS);
  lua_setfield(L, HOLDER, "positions");
  publish(r);
  lua_pushboolean(L, 1);
  return 1;
}

/* reader:is_paused(): as a whole */
static int is_paused(lua_State *L) {
  kin_lua_reader *r = luaL_checkudata(L, 1, KIN_LUA_READER);
  lua_pushboolean(L, r->paused);
  return 1;
}

/* reader:is_busy(): so many commands are on their way that another one must wait */
static int is_busy(lua_State *L) {
  kin_lua_reader *r = luaL_checkudata(L, 1, KIN_LUA_READER);
  kin_engine *engine = r->handle.engine;
  bool returns = engine && !kin_engine_forked(engine) && !r->failed;
  lua_pushboolean(L, returns && r->commands - r->applied >= COMMANDS_MAX);
  return 1;
}

/* reader:start() -> what "latest" stands for, in seconds since 1970; nil: not all iterators are
 * there, second result: they may still come */
static int start(lua_State *L) {
  kin_lua_reader *r = luaL_checkudata(L, 1, KIN_LUA_READER);
  if (r->ready) {
    lua_pushnumber(L, r->start);
    return 1;
  }
  lua_pushnil(L);
  lua_pushboolean(L, !r->failed);
  return 2;
}

void kin_lua_reader_flow_open(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"command", command}, {"is_paused", is_paused}, {"is_busy", is_busy}, {"start", start},
      {NULL, NULL},
  };
  luaL_getmetatable(L, KIN_LUA_READER);
  kin_lua_class_add(L, methods);
  lua_pop(L, 1);
}
