/* exit_drain: the end of producers that nobody closed: when they are collected, or when the process
 * ends, they have their time to deliver, without Lua, all at once; then stderr says how much is
 * left, and why. Those that are expected are in one list, under a lock of its own, under which
 * nothing is posted. */
#ifndef KIN_PRODUCER_EXIT_DRAIN_H
#define KIN_PRODUCER_EXIT_DRAIN_H

#include "producer/queue.h"

typedef struct kin_exit_drain kin_exit_drain;

/* Holds the queue, and waits for it so long. NULL when memory is out. */
kin_exit_drain *kin_exit_drain_create(kin_queue *queue, kin_engine *engine, const char *stream,
                                      kin_time most);

/* Lua thread, again and again while the process is to end: everything leaves now, and is waited for
 * so long at its end, counted from the first such call after which no record was done. */
void kin_exit_drain_shorten(kin_exit_drain *self, kin_time most);

/* Lua thread, once: no more records come in; those inside are waited for. */
void kin_exit_drain_run(kin_exit_drain *self);

/* It is expected no more. */
void kin_exit_drain_free(kin_exit_drain *self);

#endif
