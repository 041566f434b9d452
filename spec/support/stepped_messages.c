/* stepped: the messages of an engine to Lua, as tables. */
#include "consumer/commands.h"
#include "consumer/reader.h"
#include "engine/subscription.h"
#include "producer/put_many.h"
#include "stepped.h"

static void set_failure(lua_State *L, const kin_error *error) {
  static const char *const classes[] = {"ok", "transient", "throttled", "fatal"};
  if (error->class == KIN_OK)
    return;
  lua_createtable(L, 0, 6);
  stepped_set_text(L, "class", kin_slice_of(classes[error->class]));
  stepped_set_text(L, "code", kin_slice_of(error->code));
  stepped_set_text(L, "message", kin_slice_of(error->message));
  stepped_set_text(L, "operation", kin_slice_of(error->operation));
  stepped_set_text(L, "request_id", kin_slice_of(error->request_id));
  stepped_set_integer(L, "status", error->status);
  lua_setfield(L, -2, "failure");
}

static void set_answer(lua_State *L, const kin_call *over) {
  set_failure(L, &over->request.error);
  stepped_set_integer(L, "attempts", over->attempt);
  if (over->request.error.class == KIN_OK)
    stepped_set_text(L, "body", kin_buf_slice(&over->request.exchange.answer));
}

static void set_results(lua_State *L, const kin_put_many *chunk) {
  if (chunk->encryption_type.len > 0)
    stepped_set_text(L, "encryption_type", chunk->encryption_type);
  lua_newtable(L);
  for (size_t i = 0; i < chunk->count; i++) {
    const kin_put_result *result = &chunk->results[i];
    lua_createtable(L, 0, 5);
    stepped_set_text(L, "shard_id", result->shard_id);
    stepped_set_text(L, "sequence_number", result->sequence_number);
    stepped_set_text(L, "code", result->code);
    stepped_set_text(L, "message", result->message);
    stepped_set_integer(L, "attempts", chunk->entries[i].attempts);
    lua_rawseti(L, -2, (int)i + 1);
  }
  lua_setfield(L, -2, "results");
}

static void set_page(lua_State *L, const kin_page_message *message) {
  stepped_set_text(L, "shard_id", kin_slice_of(message->shard_id));
  stepped_set_integer(L, "bytes", (lua_Integer)message->bytes);
  if (message->has_range) {
    char first[KIN_HASH_TEXT], last[KIN_HASH_TEXT];
    kin_hash_format(message->range.first, first);
    kin_hash_format(message->range.last, last);
    stepped_set_text(L, "first", kin_slice_of(first));
    stepped_set_text(L, "last", kin_slice_of(last));
  }
  lua_newtable(L);
  for (size_t i = 0; i < message->page.record_count; i++) {
    const kin_record *record = &message->page.records[i];
    lua_createtable(L, 0, 4);
    stepped_set_text(L, "data", record->data);
    stepped_set_text(L, "partition_key", record->partition_key);
    stepped_set_text(L, "sequence_number", record->sequence_number);
    stepped_set_number(L, "arrival_timestamp", record->arrival_timestamp);
    lua_rawseti(L, -2, (int)i + 1);
  }
  lua_setfield(L, -2, "records");
}

static void set_shard(lua_State *L, const kin_shard_message *message) {
  stepped_set_text(L, "shard_id", kin_slice_of(message->shard_id));
  stepped_set_boolean(L, "closed", message->closed);
  stepped_set_boolean(L, "trimmed", message->trimmed);
  stepped_set_integer(L, "alive", (lua_Integer)message->alive);
}

static void set_trouble(lua_State *L, const kin_trouble_message *message) {
  static const char *const levels[] = {"quiet", "retried", "noted", "fatal"};
  stepped_set_text(L, "shard_id", kin_slice_of(message->shard_id));
  set_failure(L, &message->error);
  stepped_set_integer(L, "in_a_row", message->in_a_row);
  stepped_set_text(L, "level", kin_slice_of(levels[message->level]));
  stepped_set_boolean(L, "fatal", message->level == KIN_TROUBLE_FATAL);
}

/* The shards that were moved, in order. */
static void set_applied(lua_State *L, kin_command_message *message) {
  kin_command_sort(message);
  lua_newtable(L);
  for (size_t i = 0; i < message->count; i++) {
    lua_pushstring(L, message->shards[i].shard_id);
    lua_rawseti(L, -2, (int)i + 1);
  }
  lua_setfield(L, -2, "moved");
  stepped_set_boolean(L, "reopened", message->reopened);
}

static void push_message(lua_State *L, kin_message *message) {
  static const char *const kinds[] = {
      [KIN_MESSAGE_ANSWER] = "answer",
      [KIN_MESSAGE_STREAMED] = "streamed",
      [KIN_MESSAGE_CREDENTIALS_WANTED] = "credentials_wanted",
      [KIN_MESSAGE_PUT_MANY_DONE] = "put_many_done",
      [KIN_MESSAGE_READY] = "ready",
      [KIN_MESSAGE_PAGE] = "page",
      [KIN_MESSAGE_SHARD_START] = "shard_start",
      [KIN_MESSAGE_SHARD_END] = "shard_end",
      [KIN_MESSAGE_SHARD_ADDED] = "shard_added",
      [KIN_MESSAGE_ALL_READ] = "all_read",
      [KIN_MESSAGE_TROUBLE] = "trouble",
      [KIN_MESSAGE_APPLIED] = "applied",
      [KIN_MESSAGE_PAUSED] = "paused",
      [KIN_MESSAGE_COMPLETED] = "completed",
  };
  lua_createtable(L, 0, 8);
  stepped_set_text(L, "kind", kin_slice_of(kinds[message->kind]));
  stepped_set_integer(L, "owner", (lua_Integer)message->owner);
  if (message->kind == KIN_MESSAGE_ANSWER)
    set_answer(L, (kin_call *)message);
  else if (message->kind == KIN_MESSAGE_STREAMED)
    stepped_set_text(
        L, "payload",
        (kin_slice){((kin_streamed *)message)->payload, ((kin_streamed *)message)->len});
  else if (message->kind == KIN_MESSAGE_PUT_MANY_DONE)
    set_results(L, (kin_put_many *)message);
  else if (message->kind == KIN_MESSAGE_READY)
    stepped_set_number(L, "start", ((kin_ready_message *)message)->start);
  else if (message->kind == KIN_MESSAGE_PAGE)
    set_page(L, (kin_page_message *)message);
  else if (message->kind == KIN_MESSAGE_SHARD_START || message->kind == KIN_MESSAGE_SHARD_END ||
           message->kind == KIN_MESSAGE_SHARD_ADDED)
    set_shard(L, (kin_shard_message *)message);
  else if (message->kind == KIN_MESSAGE_APPLIED)
    set_applied(L, (kin_command_message *)message);
  else if (message->kind == KIN_MESSAGE_TROUBLE)
    set_trouble(L, (kin_trouble_message *)message);
}

/* engine:messages() -> list of {kind=, owner=, …}, and frees them; pages stay until give_back */
int stepped_take_messages(lua_State *L) {
  stepped_inbox *inbox = stepped_messages(L);
  int count = 0;
  lua_newtable(L);
  kin_mailbox_take_all(kin_engine_outbox(stepped_engine(L)), &inbox->arrived);
  while (inbox->arrived.first) {
    push_message(L, inbox->arrived.first);
    lua_rawseti(L, -2, ++count);
    kin_message *message = kin_message_list_take(&inbox->arrived);
    if (message->kind == KIN_MESSAGE_PAGE)
      kin_message_list_add(&inbox->withheld, message);
    else
      kin_message_free(message);
  }
  return 1;
}

/* The reader was not removed. */
static void hand_over(kin_engine *engine, kin_page_message *message) {
  kin_clock *clock = kin_engine_clock(engine);
  kin_time now = clock->monotonic(clock);
  size_t bytes = 0;
  for (size_t i = 0; i < message->page.record_count; i++)
    bytes += message->page.records[i].data.len + message->page.records[i].partition_key.len;
  kin_reader_row_begin_page(message->row, message->lag);
  kin_page_message_hand_over(message, message->page.record_count, bytes, now, now, true);
}

/* engine:hand_over([count]): as give_back, and the records of the pages are counted */
int stepped_hand_over(lua_State *L) {
  stepped_inbox *inbox = stepped_messages(L);
  lua_Integer most = luaL_optinteger(L, 2, INT32_MAX);
  for (kin_message *message = inbox->withheld.first; message && most > 0;
       message = message->next, most--)
    hand_over(stepped_engine(L), (kin_page_message *)message);
  return stepped_give_back(L);
}

/* engine:give_back([count [, kept]]) -> number of pages freed, the oldest first; but not those of
 * the shards that `kept` names */
int stepped_give_back(lua_State *L) {
  stepped_inbox *inbox = stepped_messages(L);
  lua_Integer most = luaL_optinteger(L, 2, INT32_MAX), given = 0;
  const char *kept = luaL_optstring(L, 3, "");
  kin_message_list all = inbox->withheld;
  kin_message *page;
  kin_message_list_init(&inbox->withheld);
  while ((page = kin_message_list_take(&all))) {
    if (given == most || strstr(kept, ((kin_page_message *)page)->shard_id)) {
      kin_message_list_add(&inbox->withheld, page);
    } else {
      kin_message_free(page);
      given++;
    }
  }
  lua_pushinteger(L, given);
  return 1;
}
