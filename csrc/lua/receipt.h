/* receipt: the handle of one record that was put with producer:send(), and what became of a record
 * as Lua values: its result, its error, its attempts. Lua thread. */
#ifndef KIN_LUA_RECEIPT_H
#define KIN_LUA_RECEIPT_H

#include "lua/class.h"
#include "producer/queue.h"

void kin_lua_receipt_open(lua_State *L);

/* Pushes a receipt and returns its id. `ttl`: for messages. */
uint64_t kin_lua_receipt_create(lua_State *L, kin_engine *engine, kin_queue *queue, kin_time ttl);

/* The list of the receipt with that id, which takes its record: the record keeps its part of the
 * bound until its outcome is returned or the receipt is closed. NULL: the receipt is gone. */
kin_record_list *kin_lua_receipt_list(lua_State *L, uint64_t id);

/* Pushes {data=, partition_key=, explicit_hash_key=}, as put_many takes it. */
void kin_lua_receipt_push_record(lua_State *L, const kin_user_record *record);

/* Pushes the error of a record that is not stored. */
void kin_lua_receipt_push_error(lua_State *L, const kin_user_record *record, kin_time ttl);

#endif
