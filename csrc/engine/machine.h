/* machine: how a producer or a reader plugs into the engine, which knows nothing above itself.
 * All its functions run on the engine thread. */
#ifndef KIN_ENGINE_MACHINE_H
#define KIN_ENGINE_MACHINE_H

#include "base/timers.h"
#include "engine/mailbox.h"

typedef struct kin_engine kin_engine;
typedef struct kin_machine kin_machine;

#define KIN_MACHINE_DONE ((kin_time)-1)

typedef struct kin_machine_vtable {
  /* Takes the message: a call's answer, or a word from the Lua thread. The machine is stepped soon
   * after. */
  void (*receive)(kin_machine *machine, kin_message *message);
  /* Does what is due; returns when it wants to be stepped next, or KIN_NEVER; or KIN_MACHINE_DONE,
   * and is destroyed. */
  kin_time (*step)(kin_machine *machine, kin_time now);
  /* There is no memory to plug it in: it says so to whoever waits for it, and is destroyed. */
  void (*refuse)(kin_machine *machine);
  /* Frees the machine. Calls it has under way are cancelled by the engine. */
  void (*destroy)(kin_machine *machine);
} kin_machine_vtable;

struct kin_machine {
  kin_message message; /* KIN_MESSAGE_MACHINE carries it in; first, so that one is the other */
  const kin_machine_vtable *vtable;
  kin_engine *engine; /* set while plugged in */
  uint64_t id;
  kin_timer timer;
  bool given; /* a message, since the last step began */
  kin_machine *next;
};

static inline void kin_machine_free_message(kin_message *message) {
  kin_machine *machine = (kin_machine *)message;
  machine->vtable->destroy(machine);
}

/* Prepares a zeroed machine for kin_engine_post. Lua thread. */
static inline void kin_machine_init(kin_machine *machine, const kin_machine_vtable *vtable,
                                    uint64_t id) {
  machine->message = (kin_message){.kind = KIN_MESSAGE_MACHINE, .free = kin_machine_free_message};
  machine->vtable = vtable;
  machine->id = id;
}

#endif
