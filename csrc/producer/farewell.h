/* farewell: the end of producers that nobody closed: when they are collected, or when the process
 * ends, they have their time to deliver, without Lua, all at once; then stderr says how much is
 * left, and why. Those that are expected are in one list, under a lock of its own, under which
 * nothing is posted. */
#ifndef KIN_PRODUCER_FAREWELL_H
#define KIN_PRODUCER_FAREWELL_H

#include "producer/door.h"

typedef struct kin_farewell kin_farewell;

/* Holds the door, and waits for it so long. NULL when memory is out. */
kin_farewell *kin_farewell_create(kin_door *door, kin_engine *engine, const char *stream,
                                  kin_time most);

/* Lua thread, again and again while the process is to end: everything leaves now, and is waited for
 * so long at its end, counted from the first such call after which no record was done. */
void kin_farewell_hurry(kin_farewell *self, kin_time most);

/* Lua thread, once: no more records come in; those inside are waited for. */
void kin_farewell_say(kin_farewell *self);

/* It is expected no more. */
void kin_farewell_free(kin_farewell *self);

#endif
