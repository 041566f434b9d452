#include "lua/ticket.h"

#include "engine/subscription.h"
#include "lua/error.h"

#define TICKET "kinesis.ticket"

void kin_lua_ticket_drop(kin_lua_ticket *ticket) {
  if (ticket->in_flight && ticket->handle.engine)
    kin_budget_give(kin_engine_in_flight(ticket->handle.engine), ticket->bytes);
  ticket->in_flight = false;
}

static int close_ticket(lua_State *L) {
  kin_lua_ticket *ticket = luaL_checkudata(L, 1, TICKET);
  kin_engine *engine = ticket->handle.engine;
  if (engine && !kin_engine_forked(engine)) {
    if (ticket->in_flight) {
      kin_engine_post_plain(engine, KIN_MESSAGE_CANCEL, ticket->handle.id);
      kin_engine_post_plain(engine, KIN_MESSAGE_REMOVE, ticket->handle.id);
    }
    kin_lua_ticket_drop(ticket);
  }
  kin_lua_handle_close(&ticket->handle);
  return 0;
}

kin_lua_ticket *kin_lua_ticket_create(lua_State *L, kin_engine *engine, size_t bytes,
                                      const char *operation,
                                      kin_lua_ticket_push_answer *push_answer) {
  if (kin_lua_handle_push_gone(L, engine, operation) > 0)
    return NULL;
  kin_lua_ticket *ticket =
      (kin_lua_ticket *)kin_lua_handle_create(L, sizeof *ticket, TICKET, engine);
  ticket->push_answer = push_answer;
  ticket->bytes = bytes;
  ticket->in_flight = kin_budget_take(kin_engine_in_flight(engine), bytes);
  if (ticket->in_flight)
    return ticket;
  kin_lua_error_push_own(L, "Full", operation,
                         "too many calls are in flight on this client; wait for some of them");
  return NULL;
}

int kin_lua_ticket_refuse(lua_State *L, const char *message) {
  lua_pushboolean(L, 0);
  lua_pushstring(L, message);
  return 2;
}

int kin_lua_ticket_send(lua_State *L, kin_lua_ticket *ticket, kin_request *request,
                        const char *operation) {
  if (!request || request->body.failed) {
    kin_message_free((kin_message *)request);
    kin_lua_ticket_drop(ticket);
    return kin_lua_error_push_no_memory(L, operation);
  }
  request->message.owner = ticket->handle.id;
  if (!kin_engine_post(ticket->handle.engine, &request->message)) {
    kin_lua_ticket_drop(ticket);
    return kin_lua_handle_push_gone(L, ticket->handle.engine, operation);
  }
  return 1;
}

/* What has arrived first. After a fork the messages are the parent's. */
static const kin_message *first_message(const kin_lua_ticket *ticket) {
  kin_engine *engine = ticket->handle.engine;
  return engine && kin_engine_forked(engine) ? NULL : ticket->handle.inbox.first;
}

/* ticket:answer(…) -> false: not yet | nil, error | what push_answer pushes. Lua may raise while
 * the message is being converted: it stays in the inbox until that is done. */
static int answer(lua_State *L) {
  kin_lua_ticket *ticket = luaL_checkudata(L, 1, TICKET);
  const kin_message *message = first_message(ticket);
  if (!message) {
    int gone = kin_lua_handle_push_gone(L, ticket->handle.engine, NULL);
    if (gone > 0)
      return gone;
    lua_pushboolean(L, 0);
    return 1;
  }
  kin_lua_ticket_drop(ticket);
  int count = ticket->push_answer(L, message);
  kin_message_free(kin_message_list_take(&ticket->handle.inbox));
  return count;
}

/* ticket:event(), of a stream -> false: nothing yet | true, event, which is returned again until
 * `pass` | nil: its end | nil, error, once */
static int event(lua_State *L) {
  kin_lua_ticket *ticket = luaL_checkudata(L, 1, TICKET);
  const kin_message *message = first_message(ticket);
  if (!message && !ticket->in_flight) { /* an error thrown into the caller has cost it the end */
    lua_pushnil(L);
    return 1;
  }
  if (!message || message->kind != KIN_MESSAGE_STREAMED) {
    int count = answer(L);
    if (!message || lua_isnil(L, -count))
      return count;
    lua_pushnil(L); /* the stream ended without an error */
    return 1;
  }
  const kin_streamed *streamed = (const kin_streamed *)message;
  lua_pushboolean(L, 1);
  lua_pushlstring(L, streamed->payload, streamed->len);
  return 2;
}

/* ticket:pass(): the caller has the event. */
static int pass(lua_State *L) {
  kin_lua_ticket *ticket = luaL_checkudata(L, 1, TICKET);
  const kin_message *message = first_message(ticket);
  if (message && message->kind == KIN_MESSAGE_STREAMED)
    kin_message_free(kin_message_list_take(&ticket->handle.inbox));
  return 0;
}

static int id(lua_State *L) {
  return kin_lua_handle_id(L, luaL_checkudata(L, 1, TICKET));
}

void kin_lua_ticket_open(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"answer", answer}, {"event", event}, {"pass", pass}, {"id", id}, {NULL, NULL}};
  kin_lua_class_create(L, TICKET, methods, close_ticket);
}
