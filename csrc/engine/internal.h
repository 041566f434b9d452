/* inside: the engine's own state, for the rooms that are the engine: `engine` (its life, its
 * thread), `step` (what it does) and `stream`. Nobody else includes this, but the specs' stepped
 * engine. */
#ifndef KIN_ENGINE_INTERNAL_H
#define KIN_ENGINE_INTERNAL_H

#include <pthread.h>

#include "engine/engine.h"
#include "engine/retry.h"
#include "engine/trace.h"

/* A target, and what it points into. */
typedef struct kin_target_slot kin_target_slot;
struct kin_target_slot {
  kin_target target;
  kin_target_slot *next;
  char text[]; /* url, host, path */
};

struct kin_engine {
  /* fixed at creation */
  unsigned generation;      /* of forks: another one now means that this is a copy */
  kin_target_slot *targets; /* every target there was; the Lua thread's */
  const kin_target *target;
  kin_time connect_timeout, request_timeout, call_timeout;
  unsigned max_attempts;
  int max_connections;

  /* any thread */
  kin_mailbox inbox, outbox;
  kin_budget in_flight; /* direct calls that are accepted and not answered */
  kin_counters counters;
  atomic_size_t streamed; /* bytes of events that Lua has not taken */
  int references;         /* under `life` */
  bool has_thread;        /* Lua thread */
  bool stopped;           /* Lua thread */
  pthread_t thread;
  kin_engine *next; /* among all engines, under `life` */

  /* engine thread */
  kin_clock clock;
  kin_transport *transport;
  kin_sigv4 *signer;
  kin_credentials_store credentials;
  kin_message credentials_wanted; /* at most one is under way: the keyring asks once */
  kin_retry retry;
  kin_trace trace;
  unsigned name[3], named;                /* what the calls' own names are made of */
  kin_timers call_timers, machine_timers; /* room is reserved for every owner */
  size_t call_count, machine_count;
  kin_call *calls, *last_call; /* every call that was sent and is not over */
  kin_machine *machines;
  kin_watch watches[KIN_WATCHES_MAX]; /* the first is the inbox's wake */
  kin_machine *watchers[KIN_WATCHES_MAX];
  size_t watch_count;
};

/* Until something happens, or so long. The engine's thread only: specs do not wait. */
void kin_loop_wait(kin_engine *engine, kin_time most);

/* For drop_everything, once the thread is gone. */
void kin_loop_take_message(kin_engine *engine, kin_message *message);
void kin_loop_remove_machine(kin_engine *engine, uint64_t id);
void kin_loop_finish_with(kin_engine *engine, kin_call *call, const char *code, const char *why);

#endif
