/* trace: the counters of calls, and events of calls for a client with hooks. Events go to Lua as
 * messages; their number is bounded, further ones are dropped and counted in the next one. Engine
 * thread, unless said otherwise. */
#ifndef KIN_ENGINE_TRACE_H
#define KIN_ENGINE_TRACE_H

#include <stdatomic.h>

#include "engine/call.h"

enum { KIN_EVENTS_MAX = 1000 };

/* The engine thread writes, any thread reads. */
typedef struct kin_counters {
  atomic_uint_fast64_t calls, attempts, retries, throttled, failed, bytes_sent, bytes_received;
  atomic_int in_flight, queued, streams;
} kin_counters;

static inline void kin_count(atomic_uint_fast64_t *counter, uint64_t more) {
  atomic_fetch_add_explicit(counter, more, memory_order_relaxed);
}

typedef enum { KIN_EVENT_REQUEST, KIN_EVENT_RESPONSE, KIN_EVENT_RETRY } kin_event_kind;

/* KIN_MESSAGE_EVENT. Holds no credentials and no data. */
typedef struct kin_event {
  kin_message message; /* first */
  kin_event_kind kind;
  char operation[KIN_OPERATION_MAX];
  char url[256];
  char invocation[40];
  unsigned attempt;
  size_t bytes;        /* of the body of the request or response */
  kin_time duration;   /* response: since the request was sent */
  kin_time delay;      /* retry: until the next attempt */
  kin_error error;     /* response, retry: class KIN_OK: none */
  unsigned dropped;    /* events that were dropped before this one */
  atomic_int *waiting; /* decremented when the event is freed */
} kin_event;

typedef struct kin_trace {
  bool enabled; /* fixed at creation */
  unsigned dropped;
  atomic_int *waiting; /* events that are not freed; any thread */
} kin_trace;

/* An event for Lua, when events are enabled; NULL: it was dropped. */
kin_message *kin_trace_event(kin_trace *trace, kin_event_kind kind, const kin_call *call,
                             const char *url, kin_time now, kin_time delay);

#endif
