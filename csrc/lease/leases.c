#include "lease/leases.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "lease/internal.h"
#include "lease/writes.h"

/* Renewals that are due within such a part of their interval are made together. */
enum { TOGETHER_PARTS = 4 };

/* When a machine had to end with leases that it could not release; monotonic. */
static atomic_int_fast64_t timed_out_at;

/* Space for all that are being taken, and one more. False: out of memory. */
static bool reserve(kin_leases *leases) {
  size_t wanted = leases->held.count + leases->taking + 1;
  return kin_held_reserve(&leases->held, wanted) && kin_timers_reserve(&leases->timers, wanted);
}

static void take_held(kin_leases *leases, kin_lease_op *op) {
  kin_lease *lease = op->taken;
  op->taken = NULL;
  lease->counter = kin_lease_next_counter(op->counter);
  kin_held_add(&leases->held, lease);
  kin_writes_extend(leases, lease);
  if (leases->ends_at != 0)
    kin_writes_release(leases, lease);
}

/* Takes an operation that the store has completed. */
static void take_outcome(kin_leases *leases, kin_lease_op *op) {
  if (op->lease) {
    kin_writes_complete(leases, op);
    return;
  }
  if (op->use == KIN_LEASE_USE_TAKE) {
    leases->taking--;
    if (op->outcome == KIN_LEASE_DONE)
      take_held(leases, op);
  }
  kin_leases_give_back(leases, op);
}

static void refuse_op(kin_leases *leases, kin_lease_op *op) {
  op->outcome = KIN_LEASE_REFUSED;
  kin_leases_give_back(leases, op);
}

static void begin_take(kin_leases *leases, kin_lease_op *op) {
  kin_error error;
  if (kin_held_find(&leases->held, op->key)) {
    refuse_op(leases, op);
  } else if (!op->taken || !reserve(leases)) {
    kin_error_clear(&error);
    kin_error_set(&error, KIN_TRANSIENT, KIN_CODE_OUT_OF_MEMORY, "out of memory");
    kin_lease_op_fail(op, &error);
    kin_leases_give_back(leases, op);
  } else {
    leases->taking++;
    op->taken->sent_at = kin_leases_boottime(leases);
    kin_leases_submit(leases, op);
  }
}

static void begin_op(kin_leases *leases, kin_lease_op *op) {
  kin_lease *lease = NULL;
  if (op->use == KIN_LEASE_USE_PLAIN) {
    kin_leases_submit(leases, op);
  } else if (op->use == KIN_LEASE_USE_TAKE) {
    begin_take(leases, op);
  } else if ((lease = kin_held_find(&leases->held, op->key))) {
    kin_writes_add(leases, lease, op);
  } else {
    refuse_op(leases, op);
  }
}

/* Releases all that is held or being taken. From the last to the first: one that fails at once is
 * removed from the list. */
static void begin_close(kin_leases *leases, kin_time ends_at) {
  leases->ends_at = ends_at;
  for (size_t i = leases->held.count; i-- > 0;)
    kin_writes_release(leases, leases->held.at[i]);
}

static bool has_leases(const kin_leases *leases) {
  return leases->held.count + leases->taking > 0;
}

static void receive(kin_machine *machine, kin_message *message) {
  kin_leases *leases = (kin_leases *)machine;
  if (message->kind == KIN_MESSAGE_LEASE) {
    begin_op(leases, (kin_lease_op *)message);
  } else if (message->kind == KIN_MESSAGE_LEASE_ANSWER) {
    take_outcome(leases, (kin_lease_op *)message);
  } else if (message->kind == KIN_MESSAGE_ANSWER) {
    leases->store->vtable->receive(leases->store, message);
  } else {
    kin_time now = kin_engine_now(machine->engine);
    if (message->kind == KIN_MESSAGE_LEASE_CLOSE && leases->store->vtable->releases_at_close)
      begin_close(leases, now + leases->exit_timeout);
    else if (message->kind == KIN_MESSAGE_LEASE_CLOSE)
      leases->ends_at = now;
    kin_message_free(message);
  }
}

/* Completes what the store can complete now; an outcome may begin the next operation. */
static kin_time run_store(kin_leases *leases, kin_time now) {
  kin_message_list done;
  kin_message *message;
  kin_time due;
  kin_message_list_init(&done);
  do {
    due = leases->store->vtable->step(leases->store, now, &done);
    message = kin_message_list_take(&done);
    for (kin_message *next = message; next; next = kin_message_list_take(&done))
      take_outcome(leases, (kin_lease_op *)next);
  } while (message);
  return due;
}

/* Begins the renewals that are due, and with them those that will be soon: a store in a file writes
 * all of them at once. Each lease at most once: one that fails is due again soon. */
static void renew(kin_leases *leases, kin_time now) {
  kin_timer *timer;
  if (kin_timers_next(&leases->timers) > now)
    return;
  kin_time soon = now + leases->interval / TOGETHER_PARTS;
  for (size_t i = leases->held.count; i > 0; i--)
    if ((timer = kin_timers_pop(&leases->timers, soon)))
      kin_writes_send_next(leases, KIN_OWNER(timer, kin_lease, timer), true);
}

/* Does what is due; returns the time of the next step. */
static kin_time run(kin_leases *leases, kin_time now) {
  renew(leases, now);
  kin_time due = run_store(leases, now), renewal = kin_timers_next(&leases->timers);
  return due < renewal ? due : renewal;
}

static kin_time step(kin_machine *machine, kin_time now) {
  kin_leases *leases = (kin_leases *)machine;
  kin_time due = run(leases, now);
  if (leases->ends_at == 0)
    return due;
  bool is_late = now >= leases->ends_at;
  if (is_late && has_leases(leases) && leases->store->vtable->releases_at_close)
    atomic_store(&timed_out_at, now);
  if (is_late || !has_leases(leases))
    return KIN_MACHINE_DONE;
  return due < leases->ends_at ? due : leases->ends_at;
}

void kin_leases_free(kin_leases *leases) {
  if (!leases)
    return;
  if (leases->store)
    leases->store->vtable->free(leases->store);
  kin_held_free(&leases->held);
  kin_timers_free(&leases->timers);
  kin_message_free(leases->reserved_error);
  free(leases->owner);
  free(leases);
}

/* The engine ends. Workers that end one after the other share exit_timeout: where one of them has
 * waited for all of it in vain, the next ones do not wait. */
static bool end(kin_machine *machine, kin_time now) {
  kin_leases *leases = (kin_leases *)machine;
  if (leases->ends_at == 0 && leases->store->vtable->releases_at_close) {
    bool waits = now >= (kin_time)atomic_load(&timed_out_at) + KIN_SECOND;
    begin_close(leases, waits ? now + leases->exit_timeout : now);
  }
  return leases->ends_at != 0 && has_leases(leases);
}

/* Engine thread, or that which has joined it. */
static void destroy(kin_machine *machine) {
  kin_leases_free((kin_leases *)machine);
}

static void refuse(kin_machine *machine) {
  kin_leases *leases = (kin_leases *)machine;
  kin_engine_notify(machine->engine, leases->reserved_error);
  leases->reserved_error = NULL;
}

/* A request of the store waits for credentials until its deadline, and the store reports why. */
static bool park(kin_machine *machine, kin_request *request, const kin_error *error) {
  (void)machine, (void)request, (void)error;
  return true;
}

kin_leases *kin_leases_create(uint64_t id, const kin_leases_options *options) {
  static const kin_machine_vtable vtable = {receive, step, refuse, destroy, park, end};
  kin_leases *leases = calloc(1, sizeof *leases);
  if (!leases) {
    options->store->vtable->free(options->store);
    return NULL;
  }
  kin_machine_init(&leases->machine, &vtable, id);
  leases->store = options->store;
  leases->owner = kin_slice_dup(options->owner);
  leases->reserved_error = kin_message_plain(KIN_MESSAGE_LEASE_REFUSED, id);
  leases->exit_timeout = options->exit_timeout;
  leases->failover = options->failover;
  leases->interval = options->interval;
  if (leases->owner && leases->reserved_error)
    return leases;
  kin_leases_free(leases);
  return NULL;
}

bool kin_leases_start(kin_engine *engine, kin_leases *leases) {
  return kin_engine_post(engine, &leases->machine.message);
}
