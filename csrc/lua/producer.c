#include "lua/producer.h"

#include <stdio.h>

#include "lua/check.h"
#include "lua/error.h"
#include "lua/field.h"
#include "lua/handle.h"
#include "lua/producer_stats.h"
#include "lua/receipt.h"
#include "producer/exit_drain.h"
#include "producer/producer.h"
#include "producer/waiting.h"

#define PRODUCER "kinesis.producer"

enum { FIRST = 2 }; /* index of the first argument of a method */

typedef struct producer {
  kin_lua_handle handle;       /* first */
  kin_queue *queue;            /* counted; NULL once closed */
  kin_exit_drain *exit_drain;  /* owned */
  kin_record_list arrived;     /* collected, not yet passed to their receipts */
  kin_record_list failed;      /* without a receipt, not yet passed on to the user */
  kin_time ttl;                /* for messages */
  kin_message *remove_message; /* owned: the machine must end when memory is out, too */
  bool started;
} producer;

static producer *check_producer(lua_State *L) {
  return luaL_checkudata(L, 1, PRODUCER);
}

static void post_remove(producer *p) {
  if (p->remove_message)
    kin_engine_post(p->handle.engine, p->remove_message);
  p->remove_message = NULL;
}

static void drop(producer *p, kin_record_list *list) {
  kin_user_record *record;
  while ((record = kin_record_list_take(list)))
    kin_queue_free_record(p->queue, record);
}

/* Also the finalizer: a producer that holds records is drained first. */
static int close_producer(lua_State *L) {
  producer *p = check_producer(L);
  kin_engine *engine = p->handle.engine;
  if (engine && !kin_engine_forked(engine)) {
    if (p->exit_drain && p->started)
      kin_exit_drain_run(p->exit_drain);
    if (p->queue) {
      drop(p, &p->arrived);
      drop(p, &p->failed);
    }
    post_remove(p);
    if (p->exit_drain)
      kin_exit_drain_free(p->exit_drain);
    kin_queue_release(p->queue);
  }
  p->queue = NULL;
  p->exit_drain = NULL;
  p->remove_message = NULL;
  kin_lua_handle_close(&p->handle);
  return 0;
}

/* ---- creation ---- */

static size_t size_field(lua_State *L, const char *field) {
  return (size_t)kin_lua_field_number(L, FIRST, field);
}

static kin_time seconds_field(lua_State *L, const char *field) {
  return kin_seconds(kin_lua_field_number(L, FIRST, field));
}

int kin_lua_producer_push(lua_State *L, kin_engine *engine) {
  int gone = kin_lua_handle_push_gone(L, engine, "PutRecords");
  if (gone > 0)
    return gone;
  luaL_checktype(L, FIRST, LUA_TTABLE);
  producer *p = (producer *)kin_lua_handle_create(L, sizeof *p, PRODUCER, engine);
  kin_slice stream = kin_lua_field_slice(L, FIRST, "stream");
  kin_producer_options options = {
      .stream = stream,
      .data_target = kin_lua_field_pointer(L, FIRST, "data_target"),
      .control_target = kin_lua_field_pointer(L, FIRST, "control_target"),
      .linger = seconds_field(L, "linger"),
      .ttl = kin_lua_field_number(L, FIRST, "record_ttl") > 0 ? seconds_field(L, "record_ttl")
                                                              : KIN_NEVER,
      .batch_records = size_field(L, "batch_records"),
      .batch_bytes = size_field(L, "batch_bytes"),
      .aggregate = (kin_aggregate_mode)kin_lua_field_number(L, FIRST, "aggregate"),
      .aggregate_bytes = size_field(L, "aggregate_bytes"),
      .aggregate_records = size_field(L, "aggregate_records"),
      .parallel = (unsigned)kin_lua_field_number(L, FIRST, "parallel"),
      .unknown_attempts = (unsigned)kin_lua_field_number(L, FIRST, "unknown_attempts"),
      .rate_limit = kin_lua_field_number(L, FIRST, "rate_limit"),
      .ordered = kin_lua_field_boolean(L, FIRST, "ordered"),
      .rerandomize_keys = kin_lua_field_boolean(L, FIRST, "rerandomize_keys"),
  };
  kin_queue_options queue = {
      .max_records = size_field(L, "max_records"),
      .max_bytes = size_field(L, "max_bytes"),
      .batch_records = options.batch_records,
      .batch_bytes = options.batch_bytes,
  };
  p->ttl = options.ttl;
  p->queue = kin_queue_create(engine, p->handle.id, &queue);
  p->remove_message = kin_message_plain(KIN_MESSAGE_REMOVE, p->handle.id);
  if (p->queue)
    p->exit_drain =
        kin_exit_drain_create(p->queue, engine, stream.at, seconds_field(L, "exit_timeout"));
  if (!p->exit_drain || !p->remove_message)
    return kin_lua_error_push_no_memory(L, "PutRecords");
  p->started = kin_producer_start(engine, p->handle.id, p->queue, &options);
  if (p->started)
    return 1;
  gone = kin_lua_handle_push_gone(L, engine, "PutRecords");
  return gone > 0 ? gone
                  : kin_lua_error_push_own(L, KIN_CODE_OUT_OF_MEMORY, "PutRecords",
                                           "the producer could not be created: out of memory, or "
                                           "OpenSSL has no MD5 here, which selects the shards");
}

/* ---- put ---- */

/* Checks data, partition_key, explicit_hash_key. NULL, or a message about the first bad one. */
static const char *check_entry(lua_State *L, kin_put *put, char random[KIN_LUA_CHECK_RANDOM_KEY]) {
  const char *message;
  if ((message = kin_lua_check_data(L, FIRST, "", &put->data)) ||
      (message = kin_lua_check_key(L, FIRST + 1, "", &put->partition_key, random)) ||
      (message = kin_lua_check_hash_key(L, FIRST + 2, "", &put->explicit_hash_key)))
    return message;
  return NULL;
}

static int push_full(lua_State *L, const producer *p) {
  kin_queue_counts counts = kin_queue_count(p->queue);
  if (p->failed.count > 0)
    return kin_lua_error_push_own(L, "Full", "PutRecords",
                                  "%zu records fill this producer; %zu of them failed and were not "
                                  "reported: give on_failure, "
                                  "or take them from flush",
                                  counts.held_records, p->failed.count);
  if (counts.open == 0)
    return kin_lua_error_push_own(L, "Full", "PutRecords",
                                  "%zu records fill this producer, and all of them are complete: "
                                  "wait for their receipts, or drop them",
                                  counts.held_records);
  return kin_lua_error_push_own(
      L, "Full", "PutRecords",
      "%zu records (%zu bytes) fill this producer; put again when some of "
      "them are stored",
      counts.held_records, counts.held_bytes);
}

static int push_rejection(lua_State *L, const producer *p, kin_queue_result result,
                          const kin_put *put) {
  switch (result) {
  case KIN_QUEUE_FULL:
    return push_full(L, p);
  case KIN_QUEUE_TOO_LARGE:
    return kin_lua_error_push_own(L, "InvalidArgumentException", "PutRecords",
                                  "data and partition key are %zu bytes; the stream takes at most "
                                  "%zu (UpdateMaxRecordSize changes that)",
                                  put->data.len + put->partition_key.len,
                                  kin_queue_count(p->queue).max_record);
  case KIN_QUEUE_NO_MEMORY:
    return kin_lua_error_push_no_memory(L, "PutRecords");
  default:
    return kin_lua_error_push_own(L, "Closed", "PutRecords", "the producer was closed");
  }
}

/* Adds the record of `put` and `send`. Returns 0 when it is accepted, else the number of values
 * pushed. In a forked child nothing is checked first: a random key takes locks of OpenSSL, which a
 * thread of the parent may have held. */
static int add(lua_State *L, producer *p, uint64_t receipt, bool *behind) {
  kin_put put;
  char random[KIN_LUA_CHECK_RANDOM_KEY];
  int gone = kin_lua_handle_push_gone(L, p->handle.engine, "PutRecords");
  if (gone > 0 && p->handle.engine && kin_engine_forked(p->handle.engine))
    return gone;
  const char *message = check_entry(L, &put, random);
  if (message) {
    lua_pushboolean(L, 0);
    lua_pushstring(L, message);
    return 2;
  }
  if (gone > 0)
    return gone;
  kin_queue_record record = {
      .put = put, .receipt = receipt, .random_key = put.partition_key.at == random};
  kin_queue_result result = kin_queue_add(p->queue, &record);
  *behind = result == KIN_QUEUE_BEHIND;
  return result == KIN_QUEUE_ACCEPTED || *behind ? 0 : push_rejection(L, p, result, &put);
}

/* Pushes two flags: there is something to drain; the producer is behind and the caller should wait.
 */
static int push_flags(lua_State *L, const producer *p, bool behind) {
  lua_pushboolean(L, kin_mailbox_filled(kin_engine_outbox(p->handle.engine)));
  lua_pushboolean(L, behind);
  return 3;
}

/* producer:put(data, partition_key, explicit_hash_key) -> true, whether to drain, whether to wait |
 * false, message about a bad argument | nil, err */
static int put(lua_State *L) {
  producer *p = check_producer(L);
  bool behind;
  lua_settop(L, FIRST + 2);
  int pushed = add(L, p, 0, &behind);
  if (pushed > 0)
    return pushed;
  lua_pushboolean(L, 1);
  return push_flags(L, p, behind);
}

/* producer:send(the same) -> receipt, … | the same */
static int send(lua_State *L) {
  producer *p = check_producer(L);
  bool behind;
  lua_settop(L, FIRST + 2);
  if (kin_lua_handle_push_gone(L, p->handle.engine, "PutRecords") > 0)
    return 2;
  uint64_t receipt = kin_lua_receipt_create(L, p->handle.engine, p->queue, p->ttl);
  int pushed = add(L, p, receipt, &behind);
  return pushed > 0 ? pushed : push_flags(L, p, behind);
}

/* producer:is_behind() -> whether the caller should wait. Frees messages that were drained: the
 * queue sends the next one only when the last one is freed. */
static int is_behind(lua_State *L) {
  producer *p = check_producer(L);
  bool open = p->queue && !kin_engine_forked(p->handle.engine);
  if (open)
    kin_message_list_free(&p->handle.inbox);
  lua_pushboolean(L,
                  open && !kin_engine_stopped(p->handle.engine) && kin_queue_is_behind(p->queue));
  return 1;
}

/* ---- outcomes ---- */

/* producer:collect(ids) -> number of failures: passes completed records to their receipts, whose
 * ids are appended to `ids`. Failed records without a receipt are kept for `failure`. */
static int collect(lua_State *L) {
  producer *p = check_producer(L);
  luaL_checktype(L, FIRST, LUA_TTABLE);
  if (!p->queue || kin_engine_forked(p->handle.engine)) {
    lua_pushinteger(L, 0);
    return 1;
  }
  int count = (int)lua_rawlen(L, FIRST);
  kin_message_list_free(
      &p->handle.inbox); /* they carry no data, and the queue sends the next one */
  kin_queue_collect(p->queue, &p->arrived);
  while (p->arrived.first) {
    kin_user_record *record = p->arrived.first;
    lua_pushnumber(L, (lua_Number)record->receipt);
    kin_record_list *to = kin_lua_receipt_list(L, record->receipt);
    kin_record_list_take(&p->arrived);
    if (to) {
      kin_record_list_add(to, record);
    } else if (record->outcome != KIN_RECORD_STORED) {
      kin_record_list_add(&p->failed, record);
      kin_queue_add_unreported(p->queue, 1);
    } else {
      kin_queue_free_record(p->queue, record);
    }
    if (to)
      lua_rawseti(L, FIRST, ++count);
    else
      lua_pop(L, 1);
  }
  lua_pushinteger(L, (lua_Integer)p->failed.count);
  return 1;
}

/* producer:failure() -> record, err: the next failed record, the same one until failure_told();
 * nothing: there is none */
static int failure(lua_State *L) {
  producer *p = check_producer(L);
  kin_user_record *record = p->failed.first;
  if (!record || !p->queue || kin_engine_forked(p->handle.engine))
    return 0;
  kin_lua_receipt_push_record(L, record);
  kin_lua_receipt_push_error(L, record, p->ttl);
  return 2;
}

/* producer:failure_told(): Lua has that record, which leaves the bound. */
static int failure_told(lua_State *L) {
  producer *p = check_producer(L);
  kin_user_record *record = p->failed.first;
  if (!record || !p->queue || kin_engine_forked(p->handle.engine))
    return 0;
  kin_record_list_take(&p->failed);
  kin_queue_add_unreported(p->queue, -1);
  kin_queue_free_record(p->queue, record);
  return 0;
}

/* producer:cause(fatal) -> err, count: the newest error of a code that has to be reported, and the
 * number of attempts; nothing: there is none. `fatal`: include errors after which records are not
 * sent again. */
static int cause(lua_State *L) {
  producer *p = check_producer(L);
  kin_error error;
  if (!p->queue || kin_engine_forked(p->handle.engine))
    return 0;
  uint64_t count = kin_causes_next(kin_queue_causes(p->queue), lua_toboolean(L, FIRST), &error);
  if (count == 0)
    return 0;
  kin_lua_error_push(L, &error);
  lua_pushnumber(L, (lua_Number)count);
  return 2;
}

/* producer:reason() -> why records wait: an error; nothing: no reason is known */
static int reason(lua_State *L) {
  producer *p = check_producer(L);
  kin_error error;
  if (!p->queue || kin_engine_forked(p->handle.engine) || !kin_waiting_reason(p->queue, &error))
    return 0;
  kin_lua_error_push(L, &error);
  return 1;
}

/* ---- flush and close ---- */

static int push_gone(lua_State *L, const producer *p) {
  int gone = kin_lua_handle_push_gone(L, p->handle.engine, "PutRecords");
  if (gone == 0 && !p->queue)
    gone = kin_lua_error_push_own(L, "Closed", "PutRecords", "the producer was closed");
  return gone;
}

/* producer:flush() -> mark | nil, err */
static int flush(lua_State *L) {
  producer *p = check_producer(L);
  int gone = push_gone(L, p);
  if (gone > 0)
    return gone;
  uint64_t mark = kin_queue_flush(p->queue);
  if (mark == 0)
    return kin_lua_error_push_no_memory(L, "PutRecords");
  lua_pushnumber(L, (lua_Number)mark);
  return 1;
}

/* producer:shorten_exit(seconds): flushes now, and waits at most so long at the exit */
static int shorten_exit(lua_State *L) {
  producer *p = check_producer(L);
  kin_time timeout = kin_seconds(luaL_checknumber(L, FIRST));
  if (push_gone(L, p) == 0)
    kin_exit_drain_shorten(p->exit_drain, timeout);
  return 0;
}

/* producer:flushed(mark) -> whether every record from before that flush has its outcome */
static int flushed(lua_State *L) {
  producer *p = check_producer(L);
  lua_pushboolean(L, !p->queue || kin_engine_forked(p->handle.engine) ||
                         kin_queue_flushed(p->queue, (uint64_t)luaL_checknumber(L, FIRST)));
  return 1;
}

/* producer:close_queue(): no more records are accepted */
static int close_queue(lua_State *L) {
  producer *p = check_producer(L);
  if (p->queue && !kin_engine_forked(p->handle.engine))
    kin_queue_close(p->queue);
  return 0;
}

/* producer:end_work() -> whether the machine has ended: all records have their outcome. Asks it to
 * end first. */
static int end_work(lua_State *L) {
  producer *p = check_producer(L);
  bool ended = !p->queue || kin_engine_forked(p->handle.engine) || kin_queue_ended(p->queue);
  if (!ended)
    post_remove(p);
  lua_pushboolean(L, ended);
  return 1;
}

static int is_closed(lua_State *L) {
  producer *p = check_producer(L);
  lua_pushboolean(L, !p->queue || kin_engine_forked(p->handle.engine) ||
                         kin_engine_stopped(p->handle.engine) || kin_queue_closed(p->queue));
  return 1;
}

/* producer:check() -> true | nil, err: forked or closed */
static int check(lua_State *L) {
  int gone = push_gone(L, check_producer(L));
  if (gone > 0)
    return gone;
  lua_pushboolean(L, 1);
  return 1;
}

static int stats(lua_State *L) {
  producer *p = check_producer(L);
  int gone = push_gone(L, p);
  if (gone > 0 && (!p->queue || kin_engine_forked(p->handle.engine)))
    return gone;
  lua_settop(L, 1);
  kin_lua_producer_stats_push(L, p->queue, p->failed.count);
  return 1;
}

static int id(lua_State *L) {
  return kin_lua_handle_id(L, luaL_checkudata(L, 1, PRODUCER));
}

void kin_lua_producer_open(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"put", put},
      {"send", send},
      {"is_behind", is_behind},
      {"collect", collect},
      {"failure", failure},
      {"failure_told", failure_told},
      {"cause", cause},
      {"reason", reason},
      {"flush", flush},
      {"shorten_exit", shorten_exit},
      {"flushed", flushed},
      {"close_queue", close_queue},
      {"end_work", end_work},
      {"is_closed", is_closed},
      {"check", check},
      {"stats", stats},
      {"id", id},
      {NULL, NULL},
  };
  kin_lua_class_create(L, PRODUCER, methods, close_producer);
  kin_lua_receipt_open(L);
}
