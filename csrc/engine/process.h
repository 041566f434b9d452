/* process: a program that is run for what it prints, such as one that hands out keys. A machine:
 * the engine waits for its output beside its sockets, and kills it when its time is up.
 *
 * What it was goes to its owner as KIN_MESSAGE_PROCESS_OVER. */
#ifndef KIN_ENGINE_PROCESS_H
#define KIN_ENGINE_PROCESS_H

#include "engine/engine.h"

typedef struct kin_process_end {
  kin_message message; /* first */
  kin_error error;     /* it could not be run, or not to its end */
  int status;          /* its exit status, or 128 and the signal that ended it */
  kin_buf output;      /* wiped when freed: it may hold keys */
  kin_buf errors;      /* the beginning of what it wrote to stderr */
} kin_process_end;

/* Runs argv[0], looked up in PATH, without a shell; `argv` is `count` texts, each with a NUL behind
 * it. Lua thread. False: the engine is stopped, or memory is out. */
bool kin_process_start(kin_engine *engine, kin_slice argv, size_t count, kin_time timeout,
                       uint64_t owner);

#endif
