/* reader: a reader of shards as a Lua userdata: delivers records and events, one at a time; see
 * `next` in reader.c. lua/kinesis/reader makes an iterator of it. Owned by Lua; Lua thread. */
#ifndef KIN_LUA_READER_H
#define KIN_LUA_READER_H

#include "consumer/commands.h"
#include "consumer/cursor.h"
#include "consumer/reader.h"
#include "lua/handle.h"
#include "lua/record.h"

#define KIN_LUA_READER "kinesis.reader"

typedef struct kin_lua_reader {
  kin_lua_handle handle;        /* first */
  kin_cursor cursor;            /* of the page that is being delivered */
  kin_lua_fields fields;        /* of a record, that are wanted */
  kin_reader *unstarted;        /* owned, while it is being made */
  kin_progress *progress;       /* counted */
  kin_reader_metrics *metrics;  /* counted */
  lua_Number left, asked;       /* arguments of the last delivery, -1: none; and of the last call */
  bool event_returned;          /* an event was returned, and is the next one until `pass` */
  kin_message *reserved_remove; /* owned; allocated at the start: a close needs no memory */
  /* reader_flow.c */
  kin_command_message *draft; /* owned, while it is being made */
  unsigned commands, applied; /* numbers of the last command, and of the last that has returned */
  unsigned latest;            /* number of the last command that moves a shard to LATEST */
  bool paused;                /* as a whole */
  bool ready;                 /* the shards that begin at LATEST have their positions */
  double start;               /* ready: what LATEST stands for; seconds since 1970 */
  bool failed;                /* a fatal error has arrived */
} kin_lua_reader;

void kin_lua_reader_open(lua_State *L);

/* client:reader{stream=, target=, shards=, poll_interval=, window=, stop_at_tip=, follow=, …}
 * -> reader | nil, error. The Lua modules have checked the options. */
int kin_lua_reader_push(lua_State *L, kin_engine *engine);

/* The position in the table at this index, in the core's form: {kind=, sequence_number=,
 * delivered=, timestamp=}; kinds are the names of the API, and SHARD_END, for which it returns
 * true. `delivered`: how many user records of that sequence number were delivered before. */
bool kin_lua_reader_read_from(lua_State *L, int table, kin_from *from);

/* ---- reader_flow.c ---- */

/* Adds its methods to the class. */
void kin_lua_reader_flow_open(lua_State *L);

bool kin_lua_reader_arrive(kin_lua_handle *handle, kin_message *message);

/* While a command is on its way, the inbox may hold what it makes void. */
static inline bool kin_lua_reader_holds_back(const kin_lua_reader *r) {
  return r->paused || (r->commands != r->applied && !r->failed);
}

#endif
