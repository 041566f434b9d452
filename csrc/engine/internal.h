/* internal: the state of an engine, for the modules engine (life and thread), loop (the step), call
 * and subscription, and for the specs' stepped engine. No other module includes it. */
#ifndef KIN_ENGINE_INTERNAL_H
#define KIN_ENGINE_INTERNAL_H

#include <pthread.h>

#include "engine/engine.h"
#include "engine/lambda.h"
#include "engine/retry.h"
#include "engine/slots.h"
#include "engine/trace.h"

struct kin_engine {
  /* constant after kin_engine_create: any thread */
  struct {
    unsigned generation; /* number of forks before; another one now: this is a child's copy */
    const kin_target *target;
    kin_time connect_timeout, request_timeout, call_timeout;
    unsigned max_attempts;
    int max_connections;
  } fixed;

  /* any thread: each member is atomic, locks itself or is a message with one owner */
  struct {
    kin_mailbox inbox, outbox;
    kin_budget in_flight; /* direct calls that are accepted and not answered */
    kin_counters counters;
    atomic_size_t streamed; /* bytes of events of subscriptions that are not freed */
    atomic_int_fast64_t skew, skew_confirmed_at; /* copies of those of retry.h */
    atomic_int events_waiting;                   /* trace events that are not freed */
    kin_message credentials_wanted;              /* posted to Lua */
    atomic_bool wanted_posted;                   /* it was, and Lua has not drained it */
  } shared;

  /* any thread, under the lock of engine.c */
  struct {
    int references;
    kin_engine *next; /* of all engines */
  } listed;

  /* the Lua thread, or the exit handler */
  struct {
    kin_targets targets;
    bool has_thread, stopped;
    pthread_t thread;
    bool in_lambda;
    kin_buf trace_header; /* the last one that was posted */
  } lua_only;

  /* the engine thread; before it starts and after it has ended, the Lua thread */
  struct {
    kin_clock clock;
    kin_transport *transport;
    kin_credentials_store credentials;
    kin_retry retry;
    kin_trace_header *trace_header; /* NULL: none */
    kin_trace trace;
    unsigned invocation_random[3], invocations; /* for the ids of calls */
    kin_timers request_timers, machine_timers;  /* with space for every owner */
    size_t request_count, machine_count;
    kin_slots slots[2];                   /* the second ones: of requests that renew leases */
    int parked;                           /* requests that are parked; see request.h */
    int paused;                           /* requests that are paused */
    kin_request *requests, *last_request; /* not delivered yet, in order of arrival */
    kin_machine *machines;
    kin_watch watches[KIN_WATCHES_MAX]; /* the first one is the inbox's wake */
    kin_machine *watchers[KIN_WATCHES_MAX];
    size_t watch_count;
  } engine_only;
};

/* ---- engine.c, engine thread ---- */

/* The engine ends: removes the machines that have nothing more to do; fails the requests of Lua. */
void kin_engine_end(kin_engine *engine);

/* ---- loop.c, engine thread ---- */

/* Waits until a message, a socket or a watch needs attention, or `timeout` has passed. */
void kin_loop_wait(kin_engine *engine, kin_time timeout);

/* Delivers the request with an error of its own, KIN_FATAL. */
void kin_loop_fail(kin_engine *engine, kin_request *request, const char *code, const char *message);

/* Whether the request can wait for credentials: its machine has `park`. */
bool kin_loop_can_wait(kin_engine *engine, const kin_request *request);

/* Also called by kin_engine_stop, when the thread has ended. */
void kin_loop_take_message(kin_engine *engine, kin_message *message);
void kin_loop_remove_machine(kin_engine *engine, uint64_t id);

#endif
