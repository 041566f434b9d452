/* ticket: one call in flight as a Lua userdata. ticket:answer() gives false until the answer has
 * arrived. A ticket that is closed or collected before cancels its call. Owned by Lua; Lua
 * thread. */
#ifndef KIN_LUA_TICKET_H
#define KIN_LUA_TICKET_H

#include "engine/request.h"
#include "lua/handle.h"

/* Where the arguments of a client's method begin on the stack. */
enum { KIN_LUA_FIRST_ARGUMENT = 2 };

/* Pushes what ticket:answer() returns for this message; returns how many values. The ticket frees
 * the message. The method's arguments are on the stack from KIN_LUA_FIRST_ARGUMENT on. */
typedef int kin_lua_ticket_push_answer(lua_State *L, const kin_message *message);

typedef struct kin_lua_ticket {
  kin_lua_handle handle; /* first */
  kin_lua_ticket_push_answer *push_answer;
  size_t bytes; /* taken from the client's budget of calls in flight */
  bool in_flight;
} kin_lua_ticket;

void kin_lua_ticket_open(lua_State *L);

/* Pushes a ticket whose bytes are taken from the client's budget. NULL: pushes nil and an error. */
kin_lua_ticket *kin_lua_ticket_create(lua_State *L, kin_engine *engine, size_t bytes,
                                      const char *operation,
                                      kin_lua_ticket_push_answer *push_answer);

/* The call was not sent: gives the bytes back. */
void kin_lua_ticket_drop(kin_lua_ticket *ticket);

/* Takes a request (NULL: memory is out) and sends it for the ticket on the top of the stack.
 * Returns what the method returns: the ticket, or nil and an error. */
int kin_lua_ticket_send(lua_State *L, kin_lua_ticket *ticket, kin_request *request,
                        const char *operation);

/* Pushes false and the message: a wrong argument, for the Lua modules to raise. */
int kin_lua_ticket_refuse(lua_State *L, const char *message);

#endif
