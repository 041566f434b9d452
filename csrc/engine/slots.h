/* slots: which requests are in flight beside each other: max_connections, and as many of those that
 * renew leases, which must not wait behind calls that hang. Engine thread. */
#ifndef KIN_ENGINE_SLOTS_H
#define KIN_ENGINE_SLOTS_H

#include "engine/request.h"

/* Counts; initialised with zero. */
typedef struct kin_slots {
  int in_flight, queued;
} kin_slots;

/* The request gets, or loses (-1), a place in flight or in the queue. */
void kin_slots_note(kin_engine *engine, const kin_request *request, int in_flight, int queued);

/* Whether a queued request may start. *others: whether it is worth asking for the next ones. */
bool kin_slots_may_start(const kin_engine *engine, const kin_request *request, bool *others);

#endif
