#include "engine/slots.h"

#include "engine/internal.h"

/* Only this thread writes the counters. */
static void add(atomic_int *count, int more) {
  if (more != 0)
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + more,
                          memory_order_relaxed);
}

void kin_slots_note(kin_engine *engine, const kin_request *request, int in_flight, int queued) {
  kin_counters *counters = &engine->shared.counters;
  kin_slots *slots = &engine->engine_only.slots[request->renews_lease];
  add(&counters->queued, queued);
  slots->queued += queued;
  if (request->vtable->slot == KIN_SLOT_STREAM) {
    add(&counters->streams, in_flight);
  } else if (request->vtable->slot == KIN_SLOT_CONNECTION) {
    add(&counters->in_flight, in_flight);
    slots->in_flight += in_flight;
  }
}

bool kin_slots_may_start(const kin_engine *engine, const kin_request *request, bool *others) {
  const kin_slots *slots = engine->engine_only.slots;
  int most = engine->fixed.max_connections;
  bool kind = request->renews_lease;
  *others = slots[!kind].queued > 0 && slots[!kind].in_flight < most;
  return slots[kind].in_flight < most;
}
