#include "engine/trace.h"

#include <stdlib.h>

static void free_event(kin_message *message) {
  kin_event *event = (kin_event *)message;
  atomic_fetch_sub(event->waiting, 1);
  free(event);
}

kin_message *kin_trace_event(kin_trace *trace, kin_event_kind kind, const kin_call *call,
                             const char *url, kin_time now, kin_time delay) {
  kin_event *event = atomic_load(trace->waiting) < KIN_EVENTS_MAX ? calloc(1, sizeof *event) : NULL;
  if (!event) {
    trace->dropped++;
    return NULL;
  }
  atomic_fetch_add(trace->waiting, 1);
  event->message = (kin_message){.kind = KIN_MESSAGE_EVENT, .free = free_event};
  event->waiting = trace->waiting;
  event->kind = kind;
  event->attempt = call->attempt;
  event->delay = delay;
  event->dropped = trace->dropped;
  trace->dropped = 0;
  kin_slice_copy(kin_slice_of(call->request.operation), event->operation, sizeof event->operation);
  kin_slice_copy(kin_slice_of(call->invocation), event->invocation, sizeof event->invocation);
  kin_slice_copy(kin_slice_of(url), event->url, sizeof event->url);
  if (kind == KIN_EVENT_REQUEST) {
    event->bytes = call->request.body.len;
    return &event->message;
  }
  event->error = call->request.error;
  event->bytes = call->received;
  event->duration = now - call->request.started_at;
  return &event->message;
}
