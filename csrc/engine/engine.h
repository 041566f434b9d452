/* engine: the machine that is stepped: takes messages, sends calls, runs timers. A thread repeats
 * the step; a spec steps it by hand, with its own clock and transport.
 *
 * Life: whoever holds a reference may post. The last reference out stops and joins the thread.
 * After a fork the child's copy does nothing at all (kin_engine_forked). */
#ifndef KIN_ENGINE_ENGINE_H
#define KIN_ENGINE_ENGINE_H

#include "base/budget.h"
#include "engine/call.h"
#include "engine/credentials.h"
#include "engine/machine.h"
#include "engine/mailbox.h"
#include "engine/trace.h"

typedef struct kin_engine_options {
  const char *url, *host, *path; /* see kin_target */
  const char *region;
  kin_time connect_timeout, request_timeout;
  kin_time call_timeout; /* all attempts of one call; KIN_NEVER: as long as they take */
  bool traced;           /* events are wanted */
  unsigned max_attempts;
  int max_connections;
} kin_engine_options;

/* Takes the transport, whether it succeeds or not. NULL: out of memory or descriptors. */
kin_engine *kin_engine_create(const kin_engine_options *options, const kin_clock *clock,
                              kin_transport *transport);

/* The thread that steps. False when none could be made. */
bool kin_engine_start(kin_engine *engine);

void kin_engine_hold(kin_engine *engine);
void kin_engine_release(kin_engine *engine);

/* Stops and joins the thread; calls under way are dropped, mailboxes closed. Idempotent. Lua thread
 * (or the exit handler). */
void kin_engine_stop(kin_engine *engine);

/* ---- Lua thread ---- */

bool kin_engine_forked(const kin_engine *engine);
bool kin_engine_stopped(const kin_engine *engine);

/* A fresh id for a handle or a machine; unique in the process, never 0. Any thread. */
uint64_t kin_engine_id(void);

/* Gives a message to the engine. False: it is stopped, and the message freed. */
bool kin_engine_post(kin_engine *engine, kin_message *message);

/* As above, of a plain message. False also when memory is out. */
bool kin_engine_post_plain(kin_engine *engine, kin_message_kind kind, uint64_t owner);

/* What the engine has for Lua. */
kin_mailbox *kin_engine_outbox(kin_engine *engine);

/* The queue for direct calls: how many, and of how many bytes, are accepted and not yet answered.
 */
kin_budget *kin_engine_in_flight(kin_engine *engine);

/* Another slot than the engine's own for calls to go to; the same one for the same URL, for as
 * long as the engine lives. NULL when memory is out. */
const kin_target *kin_engine_target(kin_engine *engine, const char *url, const char *host,
                                    const char *path);

kin_counters *kin_engine_counters(kin_engine *engine);

unsigned kin_engine_max_attempts(const kin_engine *engine);

/* ---- engine thread ---- */

/* Everything that can be done now. Returns when to step again, unless something happens before. */
kin_time kin_engine_step(kin_engine *engine);

kin_clock *kin_engine_clock(kin_engine *engine);
kin_time kin_engine_wall(kin_engine *engine); /* by the service's clock, as far as it is known */
struct kin_retry *kin_engine_retry(kin_engine *engine);

kin_time kin_engine_call_timeout(const kin_engine *engine);

/* A machine will send this call's work again after `delay`. */
void kin_engine_note_retry(kin_engine *engine, const kin_call *call, kin_time delay);

/* Takes the call. */
void kin_engine_send(kin_engine *engine, kin_call *call);

/* Drops every call of a machine that is under way. */
void kin_engine_drop_calls(kin_engine *engine, uint64_t machine);

/* The machine is stepped when `fd` is readable, too. False: there are too many such already. */
bool kin_engine_watch(kin_engine *engine, int fd, kin_machine *machine);
void kin_engine_unwatch(kin_engine *engine, int fd);

/* To Lua; takes the message. */
void kin_engine_tell(kin_engine *engine, kin_message *message);

#endif
