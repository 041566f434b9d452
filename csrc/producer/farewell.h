/* farewell: the end of producers that nobody closed: when they are collected, or when the process
 * ends, each has its time to deliver, without Lua; then stderr says how much is left. Those that
 * live are in one list, for the exit, under a lock of its own, under which nothing is posted. */
#ifndef KIN_PRODUCER_FAREWELL_H
#define KIN_PRODUCER_FAREWELL_H

#include "engine/engine.h"

typedef enum { KIN_FAREWELL_NONE, KIN_FAREWELL_HURRIED, KIN_FAREWELL_SAID } kin_farewell_stage;

/* Part of its door. */
typedef struct kin_farewell {
  struct kin_door *door;
  kin_engine *engine;
  const char *stream;
  kin_time most; /* it is waited for so long; of the Lua thread alone */
  kin_farewell_stage stage;
  struct kin_farewell *next; /* in the list */
} kin_farewell;

/* Into the list, once the rest is set; and out of it, when nobody holds the door any more. */
void kin_farewell_expect(kin_farewell *self);
void kin_farewell_forget(kin_farewell *self);

/* No more records come in; those inside are waited for. Once. Lua thread. */
void kin_farewell_say(kin_farewell *self);

#endif
