/* machine: the interface of a producer, a reader or a process to the engine, which includes none of
 * them. All its functions run on the engine thread. */
#ifndef KIN_ENGINE_MACHINE_H
#define KIN_ENGINE_MACHINE_H

#include "base/error.h"
#include "base/timers.h"
#include "engine/mailbox.h"

typedef struct kin_engine kin_engine;
typedef struct kin_request kin_request;
typedef struct kin_machine kin_machine;

#define KIN_MACHINE_DONE ((kin_time)-1)

typedef struct kin_machine_vtable {
  /* Takes the message: a finished request, or a message of the Lua thread. The machine is stepped
   * soon after. */
  void (*receive)(kin_machine *machine, kin_message *message);
  /* Does what is due. Returns the time of the next step, KIN_NEVER, or KIN_MACHINE_DONE, after
   * which it is destroyed. */
  kin_time (*step)(kin_machine *machine, kin_time now);
  /* The engine has no memory to add the machine: it reports that to Lua, and is then destroyed. */
  void (*refuse)(kin_machine *machine);
  /* Frees the machine. The engine cancels and frees its requests afterwards. */
  void (*destroy)(kin_machine *machine);
  /* There are no credentials now for this request of the machine, for the reason in `error`. True:
   * the request waits for other ones; this is called again each time the provider has none. False:
   * it fails with `error`. NULL: always false. */
  bool (*park)(kin_machine *machine, kin_request *request, const kin_error *error);
  /* The engine ends. True: the machine still has something to do, is stepped for it as before, and
   * ends by itself within a time of its own; Lua sends nothing any more. NULL: always false. */
  bool (*end)(kin_machine *machine, kin_time now);
} kin_machine_vtable;

struct kin_machine {
  kin_message message; /* first; KIN_MESSAGE_MACHINE adds the machine to the engine */
  const kin_machine_vtable *vtable;
  kin_engine *engine; /* set when added */
  uint64_t id;
  kin_timer timer;
  bool received; /* a message, since the last step began */
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
