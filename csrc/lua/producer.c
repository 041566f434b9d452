#include "lua/producer.h"

#include <stdio.h>

#include "lua/handle.h"
#include "lua/outcomes.h"
#include "producer/exit_drain.h"
#include "producer/producer.h"

#define PRODUCER "kinesis.producer"

enum { FIRST = 2 };

typedef struct producer {
  kin_lua_handle handle;       /* first */
  kin_queue *queue;            /* counted; NULL once closed */
  kin_exit_drain *exit_drain;  /* owned */
  kin_record_list arrived;     /* collected, not yet given out */
  kin_record_list failed;      /* nobody holds their receipts, and nobody was told */
  kin_time ttl;                /* for messages */
  kin_message *remove_message; /* owned: when memory is out, it must end all the same */
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

/* Left to the collector with something inside, it is drained first. */
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

/* ---- making one ---- */

static size_t size_field(lua_State *L, const char *field) {
  return (size_t)kin_lua_field_number(L, FIRST, field);
}

static kin_time seconds_field(lua_State *L, const char *field) {
  return kin_seconds(kin_lua_field_number(L, FIRST, field));
}

static int no_memory(lua_State *L) {
  return kin_lua_push_own_error(L, KIN_CODE_CONNECTION, "PutRecords", "out of memory");
}

int kin_lua_producer_push(lua_State *L, kin_engine *engine) {
  int gone = kin_lua_engine_push_gone(L, engine, "PutRecords");
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
      .rate_limit = kin_lua_field_number(L, FIRST, "rate_limit"),
      .ordered = kin_lua_field_boolean(L, FIRST, "ordered"),
      .rerandomize_keys = kin_lua_field_boolean(L, FIRST, "rerandomize_keys"),
  };
  kin_queue_options queue = {
      .max_records = size_field(L, "max_records"),
      .max_bytes = size_field(L, "max_bytes"),
      .eager_records = options.batch_records,
      .eager_bytes = options.batch_bytes,
  };
  p->ttl = options.ttl;
  p->queue = kin_queue_create(engine, p->handle.id, &queue);
  p->remove_message = kin_message_plain(KIN_MESSAGE_REMOVE, p->handle.id);
  if (p->queue)
    p->exit_drain =
        kin_exit_drain_create(p->queue, engine, stream.at, seconds_field(L, "exit_timeout"));
  if (!p->exit_drain || !p->remove_message)
    return no_memory(L);
  p->started = kin_producer_start(engine, p->handle.id, p->queue, &options);
  if (p->started)
    return 1;
  gone = kin_lua_engine_push_gone(L, engine, "PutRecords");
  return gone > 0 ? gone
                  : kin_lua_push_own_error(L, KIN_CODE_CONNECTION, "PutRecords",
                                           "no producer could be made: out of memory, or OpenSSL "
                                           "has no MD5 here, which shards are found by");
}

/* ---- what goes in ---- */

/* data, partition_key, explicit_hash_key. NULL, or what is wrong with them. */
static const char *check_entry(lua_State *L, kin_put *put, char random[KIN_RANDOM_KEY]) {
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
    return kin_lua_push_own_error(
        L, KIN_CODE_FULL, "PutRecords",
        "%zu records take all the room of this producer; %zu of them failed and were not looked "
        "at: give on_failure, or take them from flush",
        counts.held_records, p->failed.count);
  if (counts.open == 0)
    return kin_lua_push_own_error(L, KIN_CODE_FULL, "PutRecords",
                                  "%zu records take all the room of this producer, all of them "
                                  "settled: their receipts wait to be looked at, or dropped",
                                  counts.held_records);
  return kin_lua_push_own_error(L, KIN_CODE_FULL, "PutRecords",
                                "%zu records (%zu bytes) take all the room of this producer; put "
                                "again when some of them are stored",
                                counts.held_records, counts.held);
}

static int push_refusal(lua_State *L, const producer *p, kin_queue_answer answer,
                        const kin_put *put) {
  switch (answer) {
  case KIN_QUEUE_FULL:
    return push_full(L, p);
  case KIN_QUEUE_TOO_LARGE:
    return kin_lua_push_own_error(L, "InvalidArgumentException", "PutRecords",
                                  "data and partition key are %zu bytes; the stream takes at most "
                                  "%zu (UpdateMaxRecordSize changes that)",
                                  put->data.len + put->partition_key.len,
                                  kin_queue_count(p->queue).max_record);
  case KIN_QUEUE_NO_MEMORY:
    return no_memory(L);
  default:
    return kin_lua_push_own_error(L, KIN_CODE_CLOSED, "PutRecords", "the producer was closed");
  }
}

/* The refusals of both verbs: 0 when the record was taken. */
static int enter(lua_State *L, producer *p, uint64_t receipt, bool *behind) {
  kin_put put;
  char random[KIN_RANDOM_KEY];
  const char *message = check_entry(L, &put, random);
  if (message) {
    lua_pushboolean(L, 0);
    lua_pushstring(L, message);
    return 2;
  }
  int gone = kin_lua_engine_push_gone(L, p->handle.engine, "PutRecords");
  if (gone > 0)
    return gone;
  kin_queue_entry entry = {
      .put = put, .receipt = receipt, .random_key = put.partition_key.at == random};
  kin_queue_answer answer = kin_queue_add(p->queue, &entry);
  *behind = answer == KIN_QUEUE_BEHIND;
  return answer == KIN_QUEUE_TAKEN || *behind ? 0 : push_refusal(L, p, answer, &put);
}

/* Whether somebody should drain, as a script that only puts waits for nothing else; and whether who
 * can wait should, as the producer is behind. */
static int push_advice(lua_State *L, const producer *p, bool behind) {
  lua_pushboolean(L, kin_mailbox_filled(kin_engine_outbox(p->handle.engine)));
  lua_pushboolean(L, behind);
  return 3;
}

/* producer:put(data, partition_key, explicit_hash_key) -> true, whether there is something to
 * drain, whether to wait | false, what is wrong | nil, err */
static int put(lua_State *L) {
  producer *p = check_producer(L);
  bool behind;
  int refused = enter(L, p, 0, &behind);
  if (refused > 0)
    return refused;
  lua_pushboolean(L, 1);
  return push_advice(L, p, behind);
}

/* The same -> receipt, … | false, what is wrong | nil, err */
static int send(lua_State *L) {
  producer *p = check_producer(L);
  bool behind;
  lua_settop(L, FIRST + 2);
  if (kin_lua_engine_push_gone(L, p->handle.engine, "PutRecords") > 0)
    return 2;
  uint64_t receipt = kin_lua_receipt_push(L, p->handle.engine, p->queue, p->ttl);
  int refused = enter(L, p, receipt, &behind);
  return refused > 0 ? refused : push_advice(L, p, behind);
}

/* producer:is_behind() -> whether to wait still. Signals that were drained and not collected yet
 * have nothing to say that is not asked for here; but while they lie there, no other one comes. */
static int is_behind(lua_State *L) {
  producer *p = check_producer(L);
  bool lives = p->queue && !kin_engine_forked(p->handle.engine);
  if (lives)
    kin_message_list_free(&p->handle.inbox);
  lua_pushboolean(L,
                  lives && !kin_engine_stopped(p->handle.engine) && kin_queue_is_behind(p->queue));
  return 1;
}

/* ---- what comes out ---- */

/* producer:collect(ids): what has settled goes to its receipts, whose ids are put into ids[1 …];
 * failures that nobody holds a receipt for are kept for `failure`. Returns how many ids, and how
 * many such failures there are. */
static int collect(lua_State *L) {
  producer *p = check_producer(L);
  lua_Integer count = 0;
  luaL_checktype(L, FIRST, LUA_TTABLE);
  if (!p->queue || kin_engine_forked(p->handle.engine)) {
    lua_pushinteger(L, 0);
    lua_pushinteger(L, 0);
    return 2;
  }
  kin_message_list_free(&p->handle.inbox); /* signals, which have said what they had to say */
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
      kin_queue_note_untold(p->queue, 1);
    } else {
      kin_queue_free_record(p->queue, record);
    }
    if (to)
      lua_rawseti(L, FIRST, (int)++count);
    else
      lua_pop(L, 1);
  }
  lua_pushinteger(L, count);
  lua_pushinteger(L, (lua_Integer)p->failed.count);
  return 2;
}

/* producer:failure() -> record, err: one that failed, which leaves the bound; nil: there is none */
static int failure(lua_State *L) {
  producer *p = check_producer(L);
  kin_user_record *record = p->failed.first;
  if (!record || !p->queue || kin_engine_forked(p->handle.engine))
    return 0;
  kin_lua_push_lost_record(L, record);
  kin_lua_push_outcome(L, record, p->ttl);
  kin_record_list_take(&p->failed);
  kin_queue_note_untold(p->queue, -1);
  kin_queue_free_record(p->queue, record);
  return 2;
}

/* producer:cause(fatal) -> err, count: a code that the user is to hear of, with its newest error,
 * and after how many attempts; nothing: there is none. `fatal`: also when the records are not sent
 * again. */
static int cause(lua_State *L) {
  producer *p = check_producer(L);
  kin_error error;
  if (!p->queue || kin_engine_forked(p->handle.engine))
    return 0;
  uint64_t count = kin_causes_next(kin_queue_causes(p->queue), lua_toboolean(L, FIRST), &error);
  if (count == 0)
    return 0;
  kin_lua_push_error(L, &error);
  lua_pushnumber(L, (lua_Number)count);
  return 2;
}

/* producer:trouble() -> the newest error, if nothing was stored since */
static int trouble(lua_State *L) {
  producer *p = check_producer(L);
  kin_error error;
  bool current = false;
  if (!p->queue || kin_engine_forked(p->handle.engine) ||
      !kin_causes_newest(kin_queue_causes(p->queue), &error, &current) || !current)
    return 0;
  kin_lua_push_error(L, &error);
  return 1;
}

/* ---- flush and close ---- */

static int push_gone(lua_State *L, const producer *p) {
  int gone = kin_lua_engine_push_gone(L, p->handle.engine, "PutRecords");
  if (gone == 0 && !p->queue)
    gone = kin_lua_push_own_error(L, KIN_CODE_CLOSED, "PutRecords", "the producer was closed");
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
    return no_memory(L);
  lua_pushnumber(L, (lua_Number)mark);
  return 1;
}

/* producer:hurry(seconds): flushes, and waits so long at its end */
static int hurry(lua_State *L) {
  producer *p = check_producer(L);
  kin_time most = kin_seconds(luaL_checknumber(L, FIRST));
  if (push_gone(L, p) == 0)
    kin_exit_drain_shorten(p->exit_drain, most);
  return 0;
}

/* producer:flushed(mark) -> whether everything from before that flush is settled */
static int flushed(lua_State *L) {
  producer *p = check_producer(L);
  lua_pushboolean(L, !p->queue || kin_engine_forked(p->handle.engine) ||
                         kin_queue_flushed(p->queue, (uint64_t)luaL_checknumber(L, FIRST)));
  return 1;
}

/* producer:shut(): nothing more goes in */
static int shut(lua_State *L) {
  producer *p = check_producer(L);
  if (p->queue && !kin_engine_forked(p->handle.engine))
    kin_queue_close(p->queue);
  return 0;
}

/* producer:end_work() -> whether the machine is gone, after asking it to go: then all that is not
 * stored has come back */
static int end_work(lua_State *L) {
  producer *p = check_producer(L);
  bool settled = !p->queue || kin_engine_forked(p->handle.engine) || kin_queue_settled(p->queue);
  if (!settled)
    post_remove(p);
  lua_pushboolean(L, settled);
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
  kin_lua_push_producer_stats(L, p->queue, p->failed.count);
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
      {"cause", cause},
      {"trouble", trouble},
      {"flush", flush},
      {"hurry", hurry},
      {"flushed", flushed},
      {"shut", shut},
      {"end_work", end_work},
      {"is_closed", is_closed},
      {"check", check},
      {"stats", stats},
      {"id", id},
      {NULL, NULL},
  };
  kin_lua_new_class(L, PRODUCER, methods, close_producer);
  kin_lua_receipt_open(L);
}
