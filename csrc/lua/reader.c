#include "lua/reader.h"

#include "consumer/cursor.h"
#include "consumer/reader.h"
#include "lua/error.h"
#include "lua/field.h"
#include "lua/record.h"

#define READER "kinesis.reader"

enum { FIRST = 2, SHARD_ID = 2 };

typedef struct reader {
  kin_lua_handle handle;        /* first */
  kin_cursor cursor;            /* of the page that is being delivered */
  kin_lua_fields fields;        /* of a record, that are wanted */
  kin_reader *unstarted;        /* owned, while it is being made */
  kin_message *reserved_remove; /* owned; allocated at the start: a close needs no memory */
} reader;

static int close_reader(lua_State *L) {
  reader *r = luaL_checkudata(L, 1, READER);
  kin_engine *engine = r->handle.engine;
  if (engine && !kin_engine_forked(engine)) {
    kin_cursor_free(&r->cursor);
    if (r->unstarted)
      kin_reader_free(r->unstarted);
    if (r->reserved_remove)
      kin_engine_post(engine, r->reserved_remove);
  }
  r->cursor = (kin_cursor){0}; /* after a fork, its page is the parent's */
  r->unstarted = NULL;
  r->reserved_remove = NULL;
  kin_lua_handle_close(&r->handle);
  return 0;
}

/* ---- creation ---- */

/* {id=, parent_id=, adjacent_parent_id=, kind=, sequence_number=, delivered=, timestamp=}: kinds
 * are the names of the API, and SHARD_END; `delivered`: how many user records of that sequence
 * number were delivered before. NULL when memory is out. */
static kin_shard *create_shard(lua_State *L, int table) {
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
  from.delivered = (size_t)kin_lua_field_number(L, table, "delivered");
  kin_slice_copy(kin_lua_field_slice(L, table, "sequence_number"), from.sequence_number,
                 sizeof from.sequence_number);
  kin_slice parents[] = {kin_lua_field_slice(L, table, "parent_id"),
                         kin_lua_field_slice(L, table, "adjacent_parent_id")};
  kin_shard *shard = kin_shard_create(kin_lua_field_slice(L, table, "id"), parents, &from);
  if (shard && which > KIN_FROM_AFTER)
    shard->node.state = KIN_SHARD_DONE;
  return shard;
}

int kin_lua_reader_push(lua_State *L, kin_engine *engine) {
  int gone = kin_lua_handle_push_gone(L, engine, "GetRecords");
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
  bool deaggregate = kin_lua_field_boolean(L, FIRST, "deaggregate");
  kin_cursor_init(&r->cursor, deaggregate ? kin_md5_create() : NULL);
  lua_getfield(L, FIRST, "fields");
  kin_lua_fields_read(L, lua_gettop(L), &r->fields);
  lua_pop(L, 1);
  r->reserved_remove = kin_message_plain(KIN_MESSAGE_REMOVE, r->handle.id);
  r->unstarted = kin_reader_create(engine, r->handle.id, &options);
  if (!r->reserved_remove || !r->unstarted || (deaggregate && !r->cursor.md5))
    return kin_lua_error_push_no_memory(L, "GetRecords");
  lua_getfield(L, FIRST, "shards");
  luaL_checktype(L, -1, LUA_TTABLE);
  int shards = lua_gettop(L);
  for (int i = (int)lua_rawlen(L, shards); i > 0; i--) {
    lua_rawgeti(L, shards, i);
    luaL_checktype(L, -1, LUA_TTABLE);
    if (!kin_reader_add(r->unstarted, create_shard(L, lua_gettop(L))))
      return kin_lua_error_push_no_memory(L, "GetRecords");
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  kin_reader *started = r->unstarted;
  r->unstarted = NULL;
  return kin_reader_start(engine, started) ? 1 : kin_lua_handle_push_gone(L, engine, "GetRecords");
}

/* reader:start_shard{id=, parent_id=, …}: a child that no answer named */
static int start_shard(lua_State *L) {
  reader *r = luaL_checkudata(L, 1, READER);
  luaL_checktype(L, FIRST, LUA_TTABLE);
  if (kin_lua_handle_push_gone(L, r->handle.engine, "GetRecords") > 0)
    return 2;
  kin_shard *shard = create_shard(L, FIRST);
  kin_start_shard_message *start =
      shard ? kin_start_shard_message_create(r->handle.id, shard) : NULL;
  if (!start) {
    kin_shard_free(shard);
    return kin_lua_error_push_no_memory(L, "GetRecords");
  }
  lua_pushboolean(L, kin_engine_post(r->handle.engine, &start->message));
  return 1;
}

/* ---- delivering ---- */

static bool is_forked(const reader *r) {
  return r->handle.engine && kin_engine_forked(r->handle.engine);
}

/* How many records of a page are left, aggregates counted as one. Opens the next page of the inbox
 * when there is no page and no event comes before it. */
static size_t begin(reader *r) {
  if (is_forked(r))
    return 0; /* the pages, and their window, are the parent's */
  kin_message *first = r->handle.inbox.first;
  if (!r->cursor.page && first && first->kind == KIN_MESSAGE_PAGE)
    kin_cursor_open(&r->cursor, (kin_page_message *)kin_message_list_take(&r->handle.inbox));
  return kin_cursor_begin(&r->cursor);
}

/* Pushes the shard's id, the sequence number of the last delivered record, and the index of its
 * last delivered user record unless it is the last one. */
static int push_current(lua_State *L, const reader *r, const kin_record *record, size_t delivered) {
  lua_pushstring(L, r->cursor.page->shard_id);
  lua_pushlstring(L, record->sequence_number.at, record->sequence_number.len);
  if (delivered == 0)
    return 2;
  lua_pushinteger(L, (lua_Integer)delivered - 1);
  return 3;
}

/* "page_end", shard id, last sequence number; frees the page. */
static int end_page(lua_State *L, reader *r) {
  const kin_page *page = &r->cursor.page->page;
  lua_pushnil(L);
  lua_pushliteral(L, "page_end");
  push_current(L, r, &page->records[page->record_count - 1], 0);
  kin_cursor_close(&r->cursor);
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
    kin_lua_error_push(L, &trouble->error);
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

/* No record is left in the page, or there is no page: pushes the next event, or false. */
static int next_event(lua_State *L, reader *r) {
  if (r->cursor.page && !is_forked(r))
    return end_page(L, r);
  if (r->handle.inbox.first && !is_forked(r))
    return push_event(L, r);
  int gone = kin_lua_handle_push_gone(L, r->handle.engine, "GetRecords");
  if (gone > 0) {
    lua_pushliteral(L, "gone");
    lua_insert(L, -2);
    return 3;
  }
  lua_pushboolean(L, 0);
  return 1;
}

/* False: no user record of the page is left. */
static bool read_next(lua_State *L, reader *r, kin_delivery *delivery) {
  kin_cursor_step step = kin_cursor_next(&r->cursor, delivery);
  if (step == KIN_CURSOR_NO_MEMORY)
    luaL_error(L, "out of memory");
  return step == KIN_CURSOR_DELIVERY;
}

/* Leaves the shard's id at SHARD_ID, on the top. */
static void push_shard_id(lua_State *L, const reader *r) {
  lua_settop(L, SHARD_ID - 1);
  lua_pushstring(L, r->cursor.page->shard_id);
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
  kin_delivery delivery;
  if (begin(r) == 0 || !read_next(L, r, &delivery))
    return next_event(L, r);
  push_shard_id(L, r);
  kin_lua_record_push(L, &delivery, &r->fields, SHARD_ID);
  kin_cursor_deliver(&r->cursor);
  return 1;
}

/* reader:values() -> the wanted fields of a record, the first of which is never nil, or as `next`
 */
static int values(lua_State *L) {
  reader *r = luaL_checkudata(L, 1, READER);
  kin_delivery delivery;
  if (begin(r) == 0 || !read_next(L, r, &delivery))
    return next_event(L, r);
  push_shard_id(L, r);
  kin_lua_record_push_values(L, &delivery, &r->fields, SHARD_ID);
  kin_cursor_deliver(&r->cursor);
  return (int)r->fields.count;
}

/* How many records a list may have: the argument `max`, but no more than a page. */
static int check_max(lua_State *L) {
  lua_Number max = luaL_checknumber(L, 2);
  return max < KIN_PAGE_RECORDS_MAX ? (int)max : KIN_PAGE_RECORDS_MAX;
}

/* reader:batch(max) -> a list of at most `max` (KIN_PAGE_RECORDS_MAX) records of one page, or as
 * `next` */
static int batch(lua_State *L) {
  reader *r = luaL_checkudata(L, 1, READER);
  int count = 0, max = check_max(L);
  size_t left = begin(r);
  kin_delivery delivery;
  if (left == 0 || !read_next(L, r, &delivery))
    return next_event(L, r);
  push_shard_id(L, r);
  lua_createtable(L, left < (size_t)max ? (int)left : max, 0);
  do {
    kin_lua_record_push(L, &delivery, &r->fields, SHARD_ID);
    lua_rawseti(L, -2, ++count);
  } while (count < max && read_next(L, r, &delivery));
  kin_cursor_deliver(&r->cursor);
  return 1;
}

/* reader:columns(max) -> {data={…}, …, n=} of at most `max` (KIN_PAGE_RECORDS_MAX) records of one
 * page, or as `next` */
static int columns(lua_State *L) {
  reader *r = luaL_checkudata(L, 1, READER);
  int count = 0, max = check_max(L);
  size_t left = begin(r);
  kin_delivery delivery;
  if (left == 0 || !read_next(L, r, &delivery))
    return next_event(L, r);
  push_shard_id(L, r);
  kin_lua_record_push_columns(L, &r->fields, left < (size_t)max ? (int)left : max);
  do
    kin_lua_record_set_row(L, &delivery, &r->fields, SHARD_ID, SHARD_ID + 2, ++count);
  while (count < max && read_next(L, r, &delivery));
  lua_settop(L, SHARD_ID + 1);
  lua_pushinteger(L, count);
  lua_setfield(L, -2, "n");
  kin_cursor_deliver(&r->cursor);
  return 1;
}

/* reader:current() -> shard id, sequence number of the last delivered record of the page, and where
 * user records of it are left the index of the last delivered one; nothing when there is none */
static int current(lua_State *L) {
  reader *r = luaL_checkudata(L, 1, READER);
  size_t delivered;
  const kin_record *record = kin_cursor_current(&r->cursor, &delivered);
  return record ? push_current(L, r, record, delivered) : 0;
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
  kin_lua_class_create(L, READER, methods, close_reader);
  static const luaL_Reg deliverers[] = {
      {"next", next}, {"values", values}, {"batch", batch}, {"columns", columns}, {NULL, NULL}};
  luaL_getmetatable(L, READER);
  for (const luaL_Reg *each = deliverers; each->name; each++) {
    kin_lua_record_push_function(L, each->func);
    lua_setfield(L, -2, each->name);
  }
  lua_pop(L, 1);
}
