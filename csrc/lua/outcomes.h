/* outcomes: what became of a producer's records, as Lua values: receipts, errors with their
 * attempts, counts. */
#ifndef KIN_LUA_OUTCOMES_H
#define KIN_LUA_OUTCOMES_H

#include "lua/class.h"
#include "producer/queue.h"

void kin_lua_receipt_open(lua_State *L);

/* A receipt for one record; returns its id. `ttl`: for messages. */
uint64_t kin_lua_receipt_push(lua_State *L, kin_engine *engine, kin_queue *queue, kin_time ttl);

/* Where the record of that receipt goes: it keeps its place until it is looked at, or the receipt
 * is collected. NULL: nobody holds it. */
kin_record_list *kin_lua_receipt_list(lua_State *L, uint64_t id);

/* {data=, partition_key=, explicit_hash_key=}, as put_many takes them. */
void kin_lua_push_lost_record(lua_State *L, const kin_user_record *record);

/* The error of a record that is not stored. */
void kin_lua_push_outcome(lua_State *L, const kin_user_record *record, kin_time ttl);

/* `untold`: failed records that nobody has looked at. */
void kin_lua_push_producer_stats(lua_State *L, kin_queue *queue, size_t untold);

#endif
