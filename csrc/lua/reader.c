#include "lua/reader.h"

#include "lua/error.h"
#include "lua/field.h"
#include "lua/reader_stats.h"
#include "lua/window_pool.h"

enum { FIRST = 2, SHARD_ID = 2, LEFT = 2 };

/* What was returned last has not reached the user yet: see "delivering". */
static bool is_unseen(const kin_lua_reader *r, lua_Number left) {
  return r->left == left;
}

/* reader:close([left]) */
static int close_reader(lua_State *L) {
  kin_lua_reader *r = luaL_checkudata(L, 1, KIN_LUA_READER);
  kin_engine *engine = r->handle.engine;
  if (engine && !kin_engine_forked(engine)) {
    if (lua_type(L, LEFT) == LUA_TNUMBER && is_unseen(r, lua_tonumber(L, LEFT)))
      kin_cursor_take_back(&r->cursor);
    kin_cursor_count(&r->cursor, false);
    if (r->metrics)
      kin_reader_metrics_close(r->metrics, kin_monotonic());
    kin_cursor_free(&r->cursor);
    if (r->unstarted)
      kin_reader_free(r->unstarted);
    if (r->draft)
      kin_message_free(&r->draft->message);
    if (r->reserved_remove)
      kin_engine_post(engine, r->reserved_remove);
  }
  if (engine && !kin_engine_forked(engine)) {
    kin_progress_release(r->progress);
    kin_reader_metrics_release(r->metrics);
  }
  r->progress = NULL;
  r->metrics = NULL;
  r->cursor.page = NULL; /* after a fork, it is the parent's; the count of misplaced ones stays */
  r->cursor.md5 = NULL;
  r->unstarted = NULL;
  r->draft = NULL;
  r->reserved_remove = NULL;
  kin_lua_handle_close(&r->handle);
  return 0;
}

/* ---- creation ---- */

bool kin_lua_reader_read_from(lua_State *L, int table, kin_from *from) {
  static const char *const kinds[] = {
      "TRIM_HORIZON", "LATEST", "AT_TIMESTAMP", "AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER",
      "SHARD_END",    NULL};
  kin_slice kind = kin_lua_field_slice(L, table, "kind");
  int which = 0;
  while (kinds[which] && !kin_slice_is(kind, kinds[which]))
    which++;
  from->kind = which <= KIN_FROM_AFTER ? (kin_from_kind)which : KIN_FROM_TRIM_HORIZON;
  from->timestamp = kin_lua_field_number(L, table, "timestamp");
  from->delivered = (size_t)kin_lua_field_number(L, table, "delivered");
  kin_slice_copy(kin_lua_field_slice(L, table, "sequence_number"), from->sequence_number,
                 sizeof from->sequence_number);
  return which > KIN_FROM_AFTER;
}

/* A position with {id=, parent_id=, adjacent_parent_id=, closed=, unlisted=, starting_hash_key=,
 * ending_hash_key=}. False when memory is out. */
static bool add_shard(lua_State *L, kin_reader *made, int table) {
  kin_from from = {0};
  bool to_end = kin_lua_reader_read_from(L, table, &from);
  kin_slice parents[] = {kin_lua_field_slice(L, table, "parent_id"),
                         kin_lua_field_slice(L, table, "adjacent_parent_id")};
  kin_shard_known known = {
      .closed = kin_lua_field_boolean(L, table, "closed"),
      .unlisted = kin_lua_field_boolean(L, table, "unlisted"),
      .read = to_end,
  };
  known.has_range =
      kin_hash_range_parse(kin_lua_field_slice(L, table, "starting_hash_key"),
                           kin_lua_field_slice(L, table, "ending_hash_key"), &known.range);
  kin_shard *shard = kin_shard_create(kin_lua_field_slice(L, table, "id"), &from);
  if (shard)
    kin_shard_set_known(shard, known);
  return kin_reader_add(made, shard, parents);
}

int kin_lua_reader_push(lua_State *L, kin_engine *engine) {
  int gone = kin_lua_handle_push_gone(L, engine, "GetRecords");
  if (gone > 0)
    return gone;
  luaL_checktype(L, FIRST, LUA_TTABLE);
  kin_lua_reader *r = (kin_lua_reader *)kin_lua_handle_create(L, sizeof *r, KIN_LUA_READER, engine);
  kin_reader_options options = {
      .stream = kin_lua_field_slice(L, FIRST, "stream"),
      .target = kin_lua_field_pointer(L, FIRST, "target"),
      .poll_interval = kin_seconds(kin_lua_field_number(L, FIRST, "poll_interval")),
      .window_bytes = (size_t)kin_lua_field_number(L, FIRST, "window"),
      .stop_at_tip = kin_lua_field_boolean(L, FIRST, "stop_at_tip"),
      .until = kin_lua_field_number(L, FIRST, "until_timestamp"),
      .follow = kin_lua_field_boolean(L, FIRST, "follow"),
      .page_limit = (unsigned)kin_lua_field_number(L, FIRST, "page_limit"),
      .window_pool = kin_lua_window_pool_field(L, FIRST, "window_pool"),
      .report_starts = kin_lua_field_boolean(L, FIRST, "report_starts"),
  };
  r->handle.arrive = kin_lua_reader_arrive;
  r->left = -1;
  bool deaggregate = kin_lua_field_boolean(L, FIRST, "deaggregate");
  kin_cursor_init(&r->cursor, deaggregate ? kin_md5_create() : NULL);
  r->cursor.drops_misplaced = kin_lua_field_boolean(L, FIRST, "drop_misplaced");
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
  for (int i = 1, count = (int)lua_rawlen(L, shards); i <= count; i++) {
    lua_rawgeti(L, shards, i);
    luaL_checktype(L, -1, LUA_TTABLE);
    if (!add_shard(L, r->unstarted, lua_gettop(L)))
      return kin_lua_error_push_no_memory(L, "GetRecords");
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  kin_reader *started = r->unstarted;
  r->progress = kin_progress_hold(kin_reader_progress(started));
  r->metrics = kin_reader_metrics_hold(kin_reader_metrics_of(started));
  r->unstarted = NULL;
  return kin_reader_start(engine, started) ? 1 : kin_lua_handle_push_gone(L, engine, "GetRecords");
}

/* reader:progress() -> "behind" | "failing" | "idle" | "paused", since (seconds of core.now) */
static int progress(lua_State *L) {
  static const char *const kinds[] = {"behind", "failing", "idle", "paused"};
  kin_lua_reader *r = luaL_checkudata(L, 1, KIN_LUA_READER);
  kin_time since = 0;
  kin_progress_kind kind =
      r->progress ? kin_progress_get(r->progress, &since) : KIN_PROGRESS_BEHIND;
  if (kin_lua_reader_holds_back(r))
    kind = r->paused ? KIN_PROGRESS_PAUSED : KIN_PROGRESS_BEHIND; /* it does not show it yet */
  lua_pushstring(L, kinds[kind]);
  lua_pushnumber(L, (lua_Number)since / (lua_Number)KIN_SECOND);
  return 2;
}

/* ---- delivering ----
 *
 * An error that is thrown into Lua may come between the return of a function here and the moment
 * when the user has its result, or the reader has handled its event. So each delivery has an
 * argument `left`: how many records the user still wants. A call with the same number as the last
 * delivery delivers the same again. An event is returned again until `pass`. What only asks may be
 * called in that moment, too, by a signal handler: it leaves the delivery as it is. */

static bool is_forked(const kin_lua_reader *r) {
  return r->handle.engine && kin_engine_forked(r->handle.engine);
}

/* How many records of a page are left, aggregates counted as one. Opens the next page of the inbox
 * when there is no page and no event comes before it. */
static size_t begin(lua_State *L, kin_lua_reader *r) {
  lua_Number left = luaL_checknumber(L, LEFT);
  if (is_forked(r))
    return 0; /* the pages, and their window, are the parent's */
  if (is_unseen(r, left))
    kin_cursor_take_back(&r->cursor);
  r->left = -1;
  r->asked = left;
  if (r->paused)
    return 0;
  kin_message *first = r->handle.inbox.first;
  if (!r->cursor.page && first && first->kind == KIN_MESSAGE_PAGE && !kin_lua_reader_holds_back(r))
    kin_cursor_open(&r->cursor, (kin_page_message *)kin_message_list_take(&r->handle.inbox));
  return kin_cursor_begin(&r->cursor);
}

/* Pushes the shard's id, the sequence number of the last delivered record, and the index of its
 * last delivered user record unless it is the last one. */
static int push_current(lua_State *L, const kin_lua_reader *r, const kin_record *record,
                        size_t delivered) {
  lua_pushstring(L, r->cursor.page->shard_id);
  lua_pushlstring(L, record->sequence_number.at, record->sequence_number.len);
  if (delivered == 0)
    return 2;
  lua_pushinteger(L, (lua_Integer)delivered - 1);
  return 3;
}

static void deliver(kin_lua_reader *r) {
  kin_cursor_deliver(&r->cursor);
  r->left = r->asked;
}

/* "page_end", shard id, last sequence number. */
static int end_page(lua_State *L, kin_lua_reader *r) {
  const kin_page *page = &r->cursor.page->page;
  lua_pushnil(L);
  lua_pushliteral(L, "page_end");
  push_current(L, r, &page->records[page->record_count - 1], 0);
  r->event_returned = true;
  return 4;
}

static int push_event(lua_State *L, kin_lua_reader *r) {
  static const char *const levels[] = {"quiet", "retried", "noted", "fatal"};
  kin_message *message = r->handle.inbox.first;
  kin_shard_message *shard = (kin_shard_message *)message;
  int top = lua_gettop(L);
  lua_pushnil(L);
  if (message->kind == KIN_MESSAGE_SHARD_END) {
    lua_pushliteral(L, "shard_end");
    lua_pushstring(L, shard->shard_id);
    lua_pushstring(L, shard->trimmed   ? "trimmed"
                      : shard->closed  ? "closed"
                      : shard->by_time ? "until"
                                       : "tip");
    lua_pushboolean(L, shard->read_before);
  } else if (message->kind == KIN_MESSAGE_SHARD_START) {
    lua_pushliteral(L, "shard_start");
    lua_pushstring(L, shard->shard_id);
  } else if (message->kind == KIN_MESSAGE_SHARD_ADDED) {
    lua_pushliteral(L, "shard_added");
    lua_pushstring(L, shard->shard_id);
  } else if (message->kind == KIN_MESSAGE_ALL_READ) {
    lua_pushliteral(L, "all_read");
  } else {
    kin_trouble_message *trouble = (kin_trouble_message *)message;
    lua_pushliteral(L, "trouble");
    lua_pushstring(L, trouble->shard_id);
    kin_lua_error_push(L, &trouble->error);
    lua_pushinteger(L, (lua_Integer)trouble->in_a_row);
    lua_pushstring(L, levels[trouble->level]);
  }
  r->event_returned = true;
  return lua_gettop(L) - top;
}

/* reader:pass(): the last event was handled. At the end of a page all of it is delivered, also what
 * was passed over. */
static int pass(lua_State *L) {
  kin_lua_reader *r = luaL_checkudata(L, 1, KIN_LUA_READER);
  if (!r->event_returned || is_forked(r))
    return 0;
  r->event_returned = false;
  if (r->cursor.page) {
    kin_cursor_deliver(&r->cursor);
    kin_cursor_close(&r->cursor);
  } else if (r->handle.inbox.first)
    kin_message_free(kin_message_list_take(&r->handle.inbox));
  return 0;
}

/* No record is left in the page, or there is no page: pushes the next event, or false. */
static int next_event(lua_State *L, kin_lua_reader *r) {
  if (r->cursor.page && !r->paused && !is_forked(r))
    return end_page(L, r);
  if (r->handle.inbox.first && !kin_lua_reader_holds_back(r) && !is_forked(r))
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
static bool read_next(lua_State *L, kin_lua_reader *r, kin_delivery *delivery) {
  kin_cursor_step step = kin_cursor_next(&r->cursor, delivery);
  if (step == KIN_CURSOR_NO_MEMORY)
    luaL_error(L, "out of memory");
  return step == KIN_CURSOR_DELIVERY;
}

/* Leaves the shard's id at SHARD_ID, on the top. */
static void push_shard_id(lua_State *L, const kin_lua_reader *r) {
  lua_settop(L, SHARD_ID - 1);
  lua_pushstring(L, r->cursor.page->shard_id);
}

/* reader:next(left) ->
 *   record
 *   false: nothing yet
 *   nil, "page_end", shard_id, last_sequence_number
 *   nil, "shard_start", shard_id
 *   nil, "shard_end", shard_id, "closed"|"tip"|"until"|"trimmed", read_before
 *   nil, "shard_added", shard_id
 *   nil, "all_read"
 *   nil, "trouble", shard_id, error, in_a_row, "quiet"|"retried"|"noted"|"fatal"
 *   nil, "gone", error */
static int next(lua_State *L) {
  kin_lua_reader *r = luaL_checkudata(L, 1, KIN_LUA_READER);
  kin_delivery delivery;
  if (begin(L, r) == 0 || !read_next(L, r, &delivery))
    return next_event(L, r);
  push_shard_id(L, r);
  kin_lua_record_push(L, &delivery, &r->fields, SHARD_ID);
  deliver(r);
  return 1;
}

/* reader:values(left) -> the wanted fields of a record, the first of which is never nil, or as
 * `next`
 */
static int values(lua_State *L) {
  kin_lua_reader *r = luaL_checkudata(L, 1, KIN_LUA_READER);
  kin_delivery delivery;
  if (begin(L, r) == 0 || !read_next(L, r, &delivery))
    return next_event(L, r);
  push_shard_id(L, r);
  kin_lua_record_push_values(L, &delivery, &r->fields, SHARD_ID);
  deliver(r);
  return (int)r->fields.count;
}

/* How many records a list may have: `left`, but no more than a page. */
static int check_max(lua_State *L) {
  lua_Number left = luaL_checknumber(L, LEFT);
  return left < KIN_PAGE_RECORDS_MAX ? (int)left : KIN_PAGE_RECORDS_MAX;
}

/* reader:batch(left) -> a list of at most `left` (KIN_PAGE_RECORDS_MAX) records of one page, or as
 * `next` */
static int batch(lua_State *L) {
  kin_lua_reader *r = luaL_checkudata(L, 1, KIN_LUA_READER);
  int count = 0, max = check_max(L);
  size_t left = begin(L, r);
  kin_delivery delivery;
  if (left == 0 || !read_next(L, r, &delivery))
    return next_event(L, r);
  push_shard_id(L, r);
  lua_createtable(L, left < (size_t)max ? (int)left : max, 0);
  do {
    kin_lua_record_push(L, &delivery, &r->fields, SHARD_ID);
    lua_rawseti(L, -2, ++count);
  } while (count < max && read_next(L, r, &delivery));
  deliver(r);
  return 1;
}

/* reader:columns(left) -> {data={…}, …, n=} of at most `left` (KIN_PAGE_RECORDS_MAX) records of one
 * page, or as `next` */
static int columns(lua_State *L) {
  kin_lua_reader *r = luaL_checkudata(L, 1, KIN_LUA_READER);
  int count = 0, max = check_max(L);
  size_t left = begin(L, r);
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
  deliver(r);
  return 1;
}

/* reader:current(left) -> shard id, sequence number of the last delivered record of the page, and
 * where user records of it are left the index of the last delivered one; nothing when there is none
 */
static int current(lua_State *L) {
  kin_lua_reader *r = luaL_checkudata(L, 1, KIN_LUA_READER);
  size_t delivered;
  bool unseen = is_unseen(r, luaL_checknumber(L, LEFT));
  const kin_record *record = kin_cursor_current(&r->cursor, unseen, &delivered);
  return record ? push_current(L, r, record, delivered) : 0;
}

/* reader:metrics() -> metrics, which outlive the reader; see reader_stats.c */
static int metrics(lua_State *L) {
  kin_lua_reader *r = luaL_checkudata(L, 1, KIN_LUA_READER);
  luaL_argcheck(L, r->metrics, 1, "closed");
  return kin_lua_reader_stats_push(L, r->metrics);
}

/* reader:count(left) -> true | nil, error: adds what was delivered to the metrics */
static int count(lua_State *L) {
  kin_lua_reader *r = luaL_checkudata(L, 1, KIN_LUA_READER);
  lua_Number left = luaL_checknumber(L, LEFT);
  if (is_forked(r))
    return kin_lua_handle_push_gone(L, r->handle.engine, "GetRecords");
  kin_cursor_count(&r->cursor, is_unseen(r, left));
  lua_pushboolean(L, 1);
  return 1;
}

/* reader:misplaced([left]) -> how many of the user records that were returned or dropped were
 * misplaced; also after close */
static int misplaced(lua_State *L) {
  kin_lua_reader *r = luaL_checkudata(L, 1, KIN_LUA_READER);
  bool unseen = !lua_isnoneornil(L, LEFT) && is_unseen(r, luaL_checknumber(L, LEFT));
  lua_pushinteger(L, (lua_Integer)kin_cursor_misplaced(&r->cursor, unseen));
  return 1;
}

/* reader:unseen(left) -> whether records were delivered with this `left`, so that the user may not
 * have them yet */
static int unseen(lua_State *L) {
  const kin_lua_reader *r = luaL_checkudata(L, 1, KIN_LUA_READER);
  lua_pushboolean(L, !is_forked(r) && is_unseen(r, luaL_checknumber(L, LEFT)));
  return 1;
}

static int id(lua_State *L) {
  return kin_lua_handle_id(L, luaL_checkudata(L, 1, KIN_LUA_READER));
}

void kin_lua_reader_open(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"current", current}, {"pass", pass},     {"progress", progress},
      {"metrics", metrics}, {"count", count},   {"misplaced", misplaced},
      {"id", id},           {"unseen", unseen}, {NULL, NULL},
  };
  kin_lua_class_create(L, KIN_LUA_READER, methods, close_reader);
  kin_lua_reader_flow_open(L);
  static const luaL_Reg deliverers[] = {
      {"next", next}, {"values", values}, {"batch", batch}, {"columns", columns}, {NULL, NULL}};
  luaL_getmetatable(L, KIN_LUA_READER);
  for (const luaL_Reg *each = deliverers; each->name; each++) {
    kin_lua_record_push_function(L, each->func);
    lua_setfield(L, -2, each->name);
  }
  lua_pop(L, 1);
}
