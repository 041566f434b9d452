/* engine: takes messages, sends requests and runs machines, one step at a time. Its thread repeats
 * the step; specs step it without a thread, with their own clock and transport.
 *
 * The holder of a reference may post. Releasing the last reference stops and joins the thread.
 * After a fork the child's copy does nothing (kin_engine_forked). */
#ifndef KIN_ENGINE_ENGINE_H
#define KIN_ENGINE_ENGINE_H

#include "base/budget.h"
#include "engine/call.h"
#include "engine/credentials.h"
#include "engine/machine.h"
#include "engine/mailbox.h"
#include "engine/trace.h"

typedef struct kin_engine_options {
  kin_endpoint endpoint; /* of the calls that name no target */
  kin_time connect_timeout, request_timeout;
  kin_time call_timeout; /* for all attempts of a call, or KIN_NEVER */
  bool traced;           /* sends KIN_MESSAGE_EVENT */
  unsigned max_attempts;
  int max_connections;
} kin_engine_options;

/* Takes the transport in any case. NULL: out of memory or descriptors. */
kin_engine *kin_engine_create(const kin_engine_options *options, const kin_clock *clock,
                              kin_transport *transport);

/* Starts the thread. False: the system has refused it. */
bool kin_engine_start(kin_engine *engine);

void kin_engine_hold(kin_engine *engine);
void kin_engine_release(kin_engine *engine);

/* Stops and joins the thread, fails its requests, closes the mailboxes. Idempotent. Lua thread, or
 * the exit handler. */
void kin_engine_stop(kin_engine *engine);

/* ---- Lua thread ---- */

bool kin_engine_forked(const kin_engine *engine);
bool kin_engine_stopped(const kin_engine *engine);

/* A new id for a handle or a machine; unique in the process, never 0. Any thread. */
uint64_t kin_engine_id(void);

/* Posts a message to the engine. False: the engine is stopped, and the message was freed. */
bool kin_engine_post(kin_engine *engine, kin_message *message);

/* Posts a message without content. False: stopped, or out of memory. */
bool kin_engine_post_plain(kin_engine *engine, kin_message_kind kind, uint64_t owner);

/* The messages for Lua. */
kin_mailbox *kin_engine_outbox(kin_engine *engine);

/* The bound on direct calls that are accepted and not answered, by count and bytes. */
kin_budget *kin_engine_in_flight(kin_engine *engine);

/* A target besides the engine's own; the same one for the same endpoint. A NULL service or region
 * is the engine's own. NULL: out of memory. */
const kin_target *kin_engine_target(kin_engine *engine, const kin_endpoint *endpoint);

/* Posts the trace header of the Lambda invocation when it has changed; before anything that sends.
 */
void kin_engine_note_invocation(kin_engine *engine);

kin_counters *kin_engine_counters(kin_engine *engine);

unsigned kin_engine_max_attempts(const kin_engine *engine);
int kin_engine_max_connections(const kin_engine *engine);

/* What to add to the local clock to judge the expiry of credentials. */
kin_time kin_engine_expiry_offset(const kin_engine *engine);

/* Since 1970, by the service's clock. Any thread. */
kin_time kin_engine_service_time(const kin_engine *engine);

/* ---- engine thread: loop.c ---- */

/* Does everything that is due. Returns the time of the next step, unless a message, socket or watch
 * needs one earlier. */
kin_time kin_engine_step(kin_engine *engine);

kin_clock *kin_engine_clock(kin_engine *engine);
kin_time kin_engine_now(kin_engine *engine);  /* monotonic */
kin_time kin_engine_wall(kin_engine *engine); /* corrected by the service's clock */
struct kin_retry *kin_engine_retry(kin_engine *engine);

kin_time kin_engine_call_timeout(const kin_engine *engine);

/* Takes the request, and starts it when it can. */
void kin_engine_send(kin_engine *engine, kin_request *request);

/* There is no space now for the response of a machine's request in flight: called inside
 * exchange.grow. KIN_SPACE_LATER: it keeps its connection, and is paused until kin_engine_resume.
 * KIN_SPACE_NONE: a quarter of the connections, at least one, is kept for other requests; this one
 * fails with KIN_CODE_FULL. */
kin_space kin_engine_pause(kin_engine *engine, kin_request *request);
void kin_engine_resume(kin_engine *engine, kin_request *request);

/* Cancels and frees every request of a machine. */
void kin_engine_drop_requests(kin_engine *engine, uint64_t machine);

/* Also steps the machine when `fd` is readable. False: KIN_WATCHES_MAX are in use. */
bool kin_engine_watch(kin_engine *engine, int fd, kin_machine *machine);
void kin_engine_unwatch(kin_engine *engine, int fd);

/* Posts the message to Lua; takes it. Any thread. */
void kin_engine_notify(kin_engine *engine, kin_message *message);

/* Gives the message to the machine of that id, or posts it to Lua for 0. */
void kin_engine_deliver(kin_engine *engine, uint64_t machine, kin_message *message);

#endif
