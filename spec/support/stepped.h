/* stepped: the parts of the stepped engine share this. */
#ifndef KIN_SPEC_STEPPED_H
#define KIN_SPEC_STEPPED_H

#include <lauxlib.h>
#include <lua.h>

#include "consumer/metrics.h"
#include "engine/engine.h"

#if LUA_VERSION_NUM < 502
#define lua_rawlen lua_objlen
#define lua_newuserdatauv(L, size, values) lua_newuserdata(L, size)
#endif

typedef struct stepped_inbox {
  kin_message_list arrived;  /* taken from the outbox */
  kin_message_list withheld; /* pages that Lua has not given back */
} stepped_inbox;

/* Of the engine that is the first argument; they raise when it was closed. */
kin_engine *stepped_engine(lua_State *L);
stepped_inbox *stepped_messages(lua_State *L);

/* Also of negative seconds. */
kin_time stepped_time(double seconds);

/* Members of a table, or `otherwise`. The table owns its texts; absent: .at is NULL. */
lua_Number stepped_number(lua_State *L, int table, const char *field, lua_Number otherwise);
bool stepped_boolean(lua_State *L, int table, const char *field);
kin_slice stepped_text(lua_State *L, int table, const char *field);

/* Set a member of the table on the top; a text without .at is left out. */
void stepped_set_text(lua_State *L, const char *field, kin_slice text);
void stepped_set_number(lua_State *L, const char *field, double number);
void stepped_set_integer(lua_State *L, const char *field, lua_Integer number);
void stepped_set_boolean(lua_State *L, const char *field, bool is);

/* Methods of an engine: stepped_commands.c, stepped_messages.c. */
int stepped_call(lua_State *L);
int stepped_cancel(lua_State *L);
int stepped_subscribe(lua_State *L);
int stepped_credentials(lua_State *L);
int stepped_credentials_failed(lua_State *L);
int stepped_reader(lua_State *L);
int stepped_window_pool(lua_State *L);
void stepped_window_pool_open(lua_State *L);
int stepped_command(lua_State *L);
int stepped_lineage_visits(lua_State *L);
int stepped_put_many(lua_State *L);
int stepped_take_messages(lua_State *L);
int stepped_give_back(lua_State *L);
int stepped_hand_over(lua_State *L);

/* engine:producer{stream=, …} -> producer, see stepped_producer.c */
int stepped_producer(lua_State *L);
void stepped_producer_open(lua_State *L);

/* A target in DynamoDB, in another region. */
const kin_target *stepped_dynamodb(lua_State *L, kin_engine *engine);

/* engine:leases{owner=, failover=} -> leases, see stepped_leases.c */
int stepped_leases(lua_State *L);
void stepped_leases_open(lua_State *L);

/* The class of stepped_metrics.c, and one of its objects. */
void stepped_metrics_open(lua_State *L);
void stepped_metrics_push(lua_State *L, kin_reader_metrics *metrics);

/* The table of stepped_codec.c. */
void stepped_push_codec(lua_State *L);

#endif
