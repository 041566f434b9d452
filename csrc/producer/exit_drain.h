/* exit_drain: delivers the records of producers that were not closed, when they are collected or
 * the process ends: waits for exit_timeout, which all producers that end together share, then
 * prints how many records are left, and why. Uses no Lua. The module lists the drains under its own
 * lock and posts nothing while it holds it. Lua thread, and the exit handler. */
#ifndef KIN_PRODUCER_EXIT_DRAIN_H
#define KIN_PRODUCER_EXIT_DRAIN_H

#include "producer/queue.h"

typedef struct kin_exit_drain kin_exit_drain;

/* Holds the queue. `most`: exit_timeout. NULL: out of memory. */
kin_exit_drain *kin_exit_drain_create(kin_queue *queue, kin_engine *engine, const char *stream,
                                      kin_time most);

/* The process will end: flushes, and limits the wait at the end to `most`, counted from the first
 * call after which no record was completed. May be called repeatedly. */
void kin_exit_drain_shorten(kin_exit_drain *self, kin_time most);

/* Closes the queue and waits for its records; prints what is left. Once. */
void kin_exit_drain_run(kin_exit_drain *self);

/* Removes it from the list; frees it when no other thread uses it. */
void kin_exit_drain_free(kin_exit_drain *self);

#endif
