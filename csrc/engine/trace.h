/* trace: what the engine tells of its calls: counters, always; and events, for a client with hooks,
 * which cross to Lua as messages. Events wait for Lua in bounded number; what is beyond is dropped,
 * and counted in the next one. Engine thread, unless it says otherwise. */
#ifndef KIN_ENGINE_TRACE_H
#define KIN_ENGINE_TRACE_H

#include <stdatomic.h>

#include "engine/call.h"

enum { KIN_EVENTS_MAX = 1000 };

/* Any thread reads them. */
typedef struct kin_counters {
  atomic_uint_fast64_t calls, attempts, retries, throttled, failed, bytes_sent, bytes_received;
  atomic_int in_flight, queued, streams;
} kin_counters;

static inline void kin_count(atomic_uint_fast64_t *counter, uint64_t more) {
  atomic_fetch_add_explicit(counter, more, memory_order_relaxed);
}

typedef enum { KIN_EVENT_REQUEST, KIN_EVENT_RESPONSE, KIN_EVENT_RETRY } kin_event_kind;

/* KIN_MESSAGE_EVENT. Holds no key and no data. */
typedef struct kin_event {
  kin_message message; /* first */
  kin_event_kind kind;
  char operation[48];
  char url[256];
  char invocation[40];
  unsigned attempt;
  size_t bytes;        /* of the body that was sent, or that came */
  kin_time duration;   /* response: since the request left */
  kin_time delay;      /* retry: until the next attempt */
  kin_error error;     /* response, retry: of class KIN_OK when all is well */
  unsigned dropped;    /* events before this one that there was no room for */
  atomic_int *waiting; /* the count that it leaves when freed */
} kin_event;

typedef struct kin_trace {
  bool wanted; /* fixed at creation */
  unsigned dropped;
  atomic_int waiting; /* events that Lua has not freed; any thread */
} kin_trace;

/* The event, to be sent to Lua; NULL: nobody wants it, or there is no room. */
kin_message *kin_trace_event(kin_trace *trace, kin_event_kind kind, const kin_call *call,
                             const char *url, kin_time now, kin_time delay);

#endif
