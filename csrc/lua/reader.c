#include "lua/reader.h"

#include "consumer/reader.h"
#include "lua/record.h"

#define READER "kinesis.reader"

enum { FIRST = 2 };

typedef struct reader {
  kin_lua_handle handle;       /* first */
  kin_page_message *page;      /* owned; the one that is being handed over */
  size_t given;                /* records of it that were */
  kin_reader *unstarted;       /* owned, while it is being made */
  kin_message *remove_message; /* owned: when memory is out, reading must end all the same */
} reader;

static int close_reader(lua_State *L) {
  reader *r = luaL_checkudata(L, 1, READER);
  kin_engine *engine = r->handle.engine;
  if (engine && !kin_engine_forked(engine)) {
    if (r->page)
      kin_message_free(&r->page->message);
    if (r->unstarted)
      kin_reader_free(r->unstarted);
    if (r->remove_message)
      kin_engine_post(engine, r->remove_message);
  }
  r->page = NULL;
  r->unstarted = NULL;
  r->remove_message = NULL;
  kin_lua_handle_close(&r->handle);
  return 0;
}

/* ---- making one ---- */

/* {kind=, sequence_number=, timestamp=}: kinds are the names of the API, and SHARD_END. */
static kin_shard *make_shard(lua_State *L, int table) {
  static const char *const kinds[] = {
      "TRIM_HORIZON", "LATEST", "AT_TIMESTAMP", "AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER",
      "SHARD_END",    NULL};
  kin_from from = {0};
  kin_slice kind = kin_lua_field_slice(L, table, "kind");
  int which = 0;
  while (kinds[which] && !kin_slice_is(kind, kinds[which]))
    which++;
  from.kind = which <= KIN_FROM_AFTER ? (kin_from_kind)which : KIN_FROM_TRIM_HORIZON;
  from.timestamp = kin_lua_field_number(L, table, "timestamp");
  kin_slice_copy(kin_lua_field_slice(L, table, "sequence_number"), from.sequence_number,
                 sizeof from.sequence_number);
  kin_shard *shard = kin_shard_create(kin_lua_field_slice(L, table, "id"), &from);
  if (!shard)
    return NULL;
  if (which > KIN_FROM_AFTER)
    shard->state = KIN_SHARD_DONE;
  kin_slice_copy(kin_lua_field_slice(L, table, "parent_id"), shard->parents[0],
                 sizeof shard->parents[0]);
  kin_slice_copy(kin_lua_field_slice(L, table, "adjacent_parent_id"), shard->parents[1],
                 sizeof shard->parents[1]);
  return shard;
}

static int no_memory(lua_State *L) {
  return kin_lua_push_own_error(L, KIN_CODE_CONNECTION, "GetRecords", "out of memory");
}

int kin_lua_reader_push(lua_State *L, kin_engine *engine) {
  int gone = kin_lua_engine_push_gone(L, engine, "GetRecords");
  if (gone > 0)
    return gone;
  luaL_checktype(L, FIRST, LUA_TTABLE);
  reader *r = (reader *)kin_lua_handle_create(L, sizeof *r, READER, engine);
  kin_reader_options options = {
      .stream = kin_lua_field_slice(L, FIRST, "stream"),
      .target = kin_lua_field_pointer(L, FIRST, "target"),
      .poll_interval = kin_seconds(kin_lua_field_number(L, FIRST, "poll_interval")),
      .window_bytes = (size_t)kin_lua_field_number(L, FIRST, "window"),
      .stop_at_tip = kin_lua_field_boolean(L, FIRST, "stop_at_tip"),
      .follow = kin_lua_field_boolean(L, FIRST, "follow"),
  };
  r->remove_message = kin_message_plain(KIN_MESSAGE_REMOVE, r->handle.id);
  r->unstarted = kin_reader_create(engine, r->handle.id, &options);
  if (!r->remove_message || !r->unstarted)
    return no_memory(L);
  lua_getfield(L, FIRST, "shards");
  luaL_checktype(L, -1, LUA_TTABLE);
  int shards = lua_gettop(L);
  for (int i = (int)lua_rawlen(L, shards); i > 0; i--) {
    lua_rawgeti(L, shards, i);
    luaL_checktype(L, -1, LUA_TTABLE);
    kin_shard *shard = make_shard(L, lua_gettop(L));
    lua_pop(L, 1);
    if (!shard)
      return no_memory(L);
    if (!kin_reader_add(r->unstarted, shard)) {
      kin_shard_free(shard);
      return no_memory(L);
    }
  }
  lua_pop(L, 1);
  kin_reader *started = r->unstarted;
  r->unstarted = NULL;
  return kin_reader_start(engine, started) ? 1 : kin_lua_engine_push_gone(L, engine, "GetRecords");
}

/* reader:start_shard{id=, parent_id=, …}: one that the answers did not name */
static int start_shard(lua_State *L) {
  reader *r = luaL_checkudata(L, 1, READER);
  luaL_checktype(L, FIRST, LUA_TTABLE);
  if (kin_lua_engine_push_gone(L, r->handle.engine, "GetRecords") > 0)
    return 2;
  kin_shard *shard = make_shard(L, FIRST);
  kin_start_shard *start = shard ? kin_start_shard_create(shard, r->handle.id) : NULL;
  if (!start) {
    if (shard)
      kin_shard_free(shard);
    return no_memory(L);
  }
  lua_pushboolean(L, kin_engine_post(r->handle.engine, &start->message));
  return 1;
}

/* ---- what it gives ---- */

static bool is_forked(const reader *r) {
  return r->handle.engine && kin_engine_forked(r->handle.engine);
}

/* The page in hand, with a record left; else the next page of the inbox, if that is what comes
 * next. */
static kin_page_message *current_page(reader *r) {
  kin_message *first = r->handle.inbox.first;
  if (is_forked(r))
    return NULL; /* the pages, and their window, are the parent's */
  if (r->page || !first || first->kind != KIN_MESSAGE_PAGE)
    return r->page;
  r->page = (kin_page_message *)kin_message_list_take(&r->handle.inbox);
  r->given = 0;
  return r->page;
}

/* "page_end", shard id, last sequence number: the position moves on, the page is freed. */
static int end_page(lua_State *L, reader *r) {
  const kin_page *page = &r->page->page;
  kin_slice last = page->records[page->record_count - 1].sequence_number;
  lua_pushnil(L);
  lua_pushliteral(L, "page_end");
  lua_pushstring(L, r->page->shard_id);
  lua_pushlstring(L, last.at, last.len);
  kin_message_free(&r->page->message);
  r->page = NULL;
  return 4;
}

static int push_event(lua_State *L, reader *r) {
  kin_message *message = r->handle.inbox.first;
  int count;
  lua_pushnil(L);
  if (message->kind == KIN_MESSAGE_SHARD_END) {
    kin_shard_end_message *end = (kin_shard_end_message *)message;
    lua_pushliteral(L, "shard_end");
    lua_pushstring(L, end->shard_id);
    lua_pushboolean(L, end->closed);
    lua_pushboolean(L, end->names_children);
    lua_pushinteger(L, (lua_Integer)end->alive);
    count = 6;
  } else if (message->kind == KIN_MESSAGE_SHARD_STARTED) {
    lua_pushliteral(L, "shard_started");
    lua_pushinteger(L, (lua_Integer)((kin_shard_end_message *)message)->alive);
    count = 3;
  } else if (message->kind == KIN_MESSAGE_TROUBLE) {
    kin_trouble_message *trouble = (kin_trouble_message *)message;
    lua_pushliteral(L, "trouble");
    lua_pushstring(L, trouble->shard_id);
    kin_lua_push_error(L, &trouble->error);
    lua_pushinteger(L, (lua_Integer)trouble->in_a_row);
    lua_pushboolean(L, trouble->fatal);
    count = 6;
  } else {
    lua_pushliteral(L, "ready");
    lua_pushnumber(L, ((kin_ready_message *)message)->start);
    count = 3;
  }
  kin_message_free(kin_message_list_take(&r->handle.inbox));
  return count;
}

/* Nothing left in the page, or no page: the event that comes next, or false. */
static int next_event(lua_State *L, reader *r) {
  if (r->page && !is_forked(r))
    return end_page(L, r);
  if (r->handle.inbox.first && !is_forked(r))
    return push_event(L, r);
  int gone = kin_lua_engine_push_gone(L, r->handle.engine, "GetRecords");
  if (gone > 0) {
    lua_pushliteral(L, "gone");
    lua_insert(L, -2);
    return 3;
  }
  lua_pushboolean(L, 0);
  return 1;
}

/* reader:next() ->
 *   record
 *   false: nothing yet
 *   nil, "page_end", shard_id, last_sequence_number
 *   nil, "shard_end", shard_id, closed, names_children, alive
 *   nil, "shard_started", alive
 *   nil, "trouble", shard_id, error, in_a_row, fatal
 *   nil, "ready", start (seconds since 1970)
 *   nil, "gone", error */
static int next(lua_State *L) {
  reader *r = luaL_checkudata(L, 1, READER);
  kin_page_message *page = current_page(r);
  if (!page || r->given == page->page.record_count)
    return next_event(L, r);
  lua_settop(L, 1);
  lua_pushstring(L, page->shard_id);
  kin_lua_push_record(L, &page->page.records[r->given], 2);
  r->given++;
  return 1;
}

/* reader:batch(max) -> a list of at most `max` records of one page, or as `next` */
static int batch(lua_State *L) {
  reader *r = luaL_checkudata(L, 1, READER);
  lua_Number max = luaL_checknumber(L, 2);
  kin_page_message *page = current_page(r);
  if (!page || r->given == page->page.record_count)
    return next_event(L, r);
  size_t left = page->page.record_count - r->given;
  size_t count = max < (lua_Number)left ? (size_t)max : left;
  lua_settop(L, 1);
  lua_pushstring(L, page->shard_id);
  lua_createtable(L, (int)count, 0);
  for (size_t i = 0; i < count; i++) {
    kin_lua_push_record(L, &page->page.records[r->given + i], 2);
    lua_rawseti(L, -2, (int)(i + 1));
  }
  r->given += count;
  return 1;
}

/* reader:current() -> shard id, sequence number of the last record handed over of the page in hand
 */
static int current(lua_State *L) {
  reader *r = luaL_checkudata(L, 1, READER);
  if (!r->page || r->given == 0)
    return 0;
  kin_slice last = r->page->page.records[r->given - 1].sequence_number;
  lua_pushstring(L, r->page->shard_id);
  lua_pushlstring(L, last.at, last.len);
  return 2;
}

static int id(lua_State *L) {
  return kin_lua_handle_id(L, luaL_checkudata(L, 1, READER));
}

void kin_lua_reader_open(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"current", current},
      {"start_shard", start_shard},
      {"id", id},
      {NULL, NULL},
  };
  kin_lua_new_class(L, READER, methods, close_reader);
  luaL_getmetatable(L, READER);
  kin_lua_push_record_function(L, next);
  lua_setfield(L, -2, "next");
  kin_lua_push_record_function(L, batch);
  lua_setfield(L, -2, "batch");
  lua_pop(L, 1);
}
