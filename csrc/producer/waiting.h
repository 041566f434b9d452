/* waiting: why records of a producer still wait, for the errors of waits that time out and of
 * records that were never sent. Any thread. */
#ifndef KIN_PRODUCER_WAITING_H
#define KIN_PRODUCER_WAITING_H

#include "producer/queue.h"

/* The reason, as far as the engine knows it: the newest failure, if a record whose attempt failed
 * is open; else our own limit of the rate. False: none is known. */
bool kin_waiting_reason(kin_queue *queue, kin_error *error);

/* Sets the error that the limiters of `shards` shards keep records waiting. */
void kin_waiting_set_rate_limit(kin_error *error, unsigned shards);

#endif
