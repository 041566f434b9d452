#include "lua/receipt.h"

#include <stdio.h>

#include "lua/error.h"
#include "lua/field.h"
#include "lua/handle.h"
#include "producer/attempt.h"

#define RECEIPT "kinesis.receipt"

typedef struct receipt {
  kin_lua_handle handle;  /* first */
  kin_queue *queue;       /* counted; NULL once closed */
  kin_record_list record; /* empty until the outcome is known, then one record */
  kin_time ttl;           /* for messages */
} receipt;

static void drop_record(receipt *r) {
  kin_user_record *record = kin_record_list_take(&r->record);
  if (record)
    kin_queue_free_record(r->queue, record);
}

/* The receipt is closed before it was waited for: a failed record is reported like one without a
 * receipt. */
static void give_back(receipt *r) {
  const kin_user_record *record = r->record.first;
  if (record && record->outcome != KIN_RECORD_STORED)
    kin_queue_return(r->queue, kin_record_list_take(&r->record));
  else
    drop_record(r);
}

static int close_receipt(lua_State *L) {
  receipt *r = luaL_checkudata(L, 1, RECEIPT);
  if (r->queue && !kin_engine_forked(r->handle.engine)) {
    give_back(r);
    kin_queue_release(r->queue);
  }
  r->queue = NULL;
  kin_lua_handle_close(&r->handle);
  return 0;
}

uint64_t kin_lua_receipt_create(lua_State *L, kin_engine *engine, kin_queue *queue, kin_time ttl) {
  receipt *r = (receipt *)kin_lua_handle_create(L, sizeof *r, RECEIPT, engine);
  r->queue = kin_queue_hold(queue);
  r->ttl = ttl;
  return r->handle.id;
}

kin_record_list *kin_lua_receipt_list(lua_State *L, uint64_t id) {
  receipt *r = id == 0 ? NULL : (receipt *)kin_lua_handle_find(L, id);
  return r && r->queue ? &r->record : NULL;
}

/* ---- attempts ---- */

static void push_times(lua_State *L, kin_time at, kin_time duration) {
  lua_createtable(L, 0, 5);
  lua_pushnumber(L, (lua_Number)at / (lua_Number)KIN_SECOND);
  lua_setfield(L, -2, "at");
  lua_pushnumber(L, (lua_Number)duration / (lua_Number)KIN_SECOND);
  lua_setfield(L, -2, "duration");
}

static void push_attempt(lua_State *L, const kin_attempt *attempt) {
  push_times(L, attempt->at, attempt->duration);
  kin_lua_field_set(L, "code", kin_slice_of(attempt->code));
  kin_lua_field_set(L, "message", kin_slice_of(attempt->message));
  kin_lua_field_set(L, "request_id", kin_slice_of(attempt->request_id));
}

/* A list, oldest first. A record that was never sent has no attempts, but may have a cause among
 * them. */
static void push_attempts(lua_State *L, const kin_user_record *record) {
  const kin_attempt *attempt = record->attempt_count > 0 ? record->attempts : NULL;
  const kin_stored *stored = record->outcome == KIN_RECORD_STORED ? record->stored : NULL;
  int count = attempt ? (int)attempt->depth + 1 : 0;
  lua_createtable(L, count + (stored ? 1 : 0), 0);
  if (stored) {
    push_times(L, stored->at, stored->duration);
    lua_rawseti(L, -2, count + 1);
  }
  for (int i = count; attempt; attempt = attempt->before) {
    push_attempt(L, attempt);
    lua_rawseti(L, -2, i--);
  }
}

/* ---- outcomes ---- */

void kin_lua_receipt_push_record(lua_State *L, const kin_user_record *record) {
  kin_put put = kin_user_record_put(record);
  lua_createtable(L, 0, 3);
  lua_pushlstring(L, put.data.at, put.data.len);
  lua_setfield(L, -2, "data");
  kin_lua_field_set(L, "partition_key", put.partition_key);
  kin_lua_field_set(L, "explicit_hash_key", put.explicit_hash_key);
}

static void describe_error(const kin_user_record *record, kin_time ttl, kin_error *error) {
  const kin_attempt *last = record->attempts;
  char cause[KIN_ERROR_MESSAGE_MAX + KIN_ERROR_CODE_MAX + 32] = "";
  if (last)
    snprintf(cause, sizeof cause, "; %s: %s: %s",
             record->attempt_count > 0 ? "the last attempt" : "why it did not leave", last->code,
             last->message);
  if (record->outcome == KIN_RECORD_EXPIRED) {
    kin_error_set(error, KIN_FATAL, "Expired", "not stored within %g s, in %u attempts%s",
                  (double)ttl / (double)KIN_SECOND, record->attempt_count, cause);
  } else if (record->outcome == KIN_RECORD_CLOSED) {
    kin_error_set(error, KIN_FATAL, "Closed", "the producer was closed before it was stored%s%s",
                  record->maybe_stored ? "; an attempt whose outcome is unknown may have stored it"
                                       : "",
                  cause);
  } else if (last) {
    error->status = last->status;
    kin_slice_copy(kin_slice_of(last->request_id), error->request_id, sizeof error->request_id);
    kin_error_set(error, last->class, last->code, "%s", last->message);
  } else {
    kin_error_set(error, KIN_FATAL, KIN_CODE_OUT_OF_MEMORY, "out of memory while sending it");
  }
}

void kin_lua_receipt_push_error(lua_State *L, const kin_user_record *record, kin_time ttl) {
  kin_error error;
  kin_error_clear(&error);
  kin_slice_copy(KIN_SLICE("PutRecords"), error.operation, sizeof error.operation);
  describe_error(record, ttl, &error);
  kin_lua_error_push(L, &error);
  push_attempts(L, record);
  lua_setfield(L, -2, "attempts");
}

static void push_stored(lua_State *L, const kin_user_record *record) {
  const kin_stored *stored = record->stored;
  lua_createtable(L, 0, 3);
  kin_lua_field_set(L, "shard_id", kin_slice_of(stored->shard_id));
  kin_lua_field_set(L, "sequence_number", kin_slice_of(stored->sequence_number));
  push_attempts(L, record);
  lua_setfield(L, -2, "attempts");
  luaL_getmetatable(L, KIN_LUA_RESULT_META);
  lua_setmetatable(L, -2);
}

/* receipt:answer() -> false: not known yet | true, result | nil, err. The record counts toward the
 * producer's bound until `forget`. */
static int answer(lua_State *L) {
  receipt *r = luaL_checkudata(L, 1, RECEIPT);
  const kin_user_record *record = r->record.first;
  bool forked = r->handle.engine && kin_engine_forked(r->handle.engine);
  if (forked || !r->queue)
    return kin_lua_handle_push_gone(L, r->handle.engine, "PutRecords");
  if (!record) {
    lua_pushboolean(L, 0);
    return 1;
  }
  if (record->outcome == KIN_RECORD_STORED) {
    lua_pushboolean(L, 1);
    push_stored(L, record);
  } else {
    lua_pushnil(L);
    kin_lua_receipt_push_error(L, record, r->ttl);
  }
  return 2;
}

/* receipt:forget(): the caller has kept what `answer` returned */
static int forget(lua_State *L) {
  receipt *r = luaL_checkudata(L, 1, RECEIPT);
  if (r->queue && !kin_engine_forked(r->handle.engine))
    drop_record(r);
  return 0;
}

static int id(lua_State *L) {
  return kin_lua_handle_id(L, luaL_checkudata(L, 1, RECEIPT));
}

void kin_lua_receipt_open(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"answer", answer}, {"forget", forget}, {"id", id}, {NULL, NULL}};
  kin_lua_class_create(L, RECEIPT, methods, close_receipt);
}
