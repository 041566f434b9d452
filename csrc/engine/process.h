/* process: runs a program for its output, such as a credentials provider. A machine on the engine
 * thread; the engine waits on the pipes together with its sockets. A supervisor, a process in
 * between, reports how the program ended; what the program left running in the background is not
 * waited for. Both are killed, as a group, when the timeout has passed. The result goes to Lua as
 * KIN_MESSAGE_PROCESS_OVER.
 *
 *   (added) -> running -> reported -> supervisor reaped -> KIN_MACHINE_DONE
 *      |          '-- timeout: killed -----'
 *      '-- cannot be run --> KIN_MACHINE_DONE */
#ifndef KIN_ENGINE_PROCESS_H
#define KIN_ENGINE_PROCESS_H

#include "engine/engine.h"

typedef struct kin_process_end {
  kin_message message; /* first */
  kin_error error;     /* the program could not be run, or was killed */
  int status;          /* its exit status, or 128 + the signal that ended it */
  kin_buf output;      /* wiped when freed, because it may hold credentials */
  kin_buf errors;      /* the beginning of its stderr */
} kin_process_end;

/* Runs argv[0], found by PATH, without a shell; `argv` is `count` texts, each terminated. Lua
 * thread. False: the engine is stopped, or out of memory. */
bool kin_process_start(kin_engine *engine, kin_slice argv, size_t count, kin_time timeout,
                       uint64_t owner);

#endif
