#include "lease/leases.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "engine/retry.h"
#include "lease/held.h"
#include "wire/json.h"

/* Another worker waits for `failover` after it has seen a renewal, by a clock of its own. */
enum { MARGIN_PARTS = 10 };

/* A renewal that fails twice leaves time for a third. */
enum { RENEWALS_PER_FAILOVER = 3 };

/* Renewals that are due within such a part of their interval are made together. */
enum { TOGETHER_PARTS = 4 };

/* The counter of a lease that is ours was changed by others so often in a row. */
enum { SURPRISES_MAX = 3 };

/* Failures in a row. */
enum { REPORT_AT = 3 };

struct kin_leases {
  kin_machine machine; /* first */
  kin_lease_store *store;
  char *owner; /* JSON */
  kin_time failover, interval, exit_timeout;
  kin_time ends_at;            /* monotonic: it closes, until then at most; 0: it does not */
  kin_message *reserved_error; /* owned: a refusal needs no memory */
  kin_held_leases held;
  size_t taking;     /* TAKEs in the store */
  kin_timers timers; /* with space for every lease, and every one that is being taken */
};

static kin_clock *clock_of(kin_leases *leases) {
  return kin_engine_clock(leases->machine.engine);
}

/* ---- the leases that are held ---- */

/* Space for all that are being taken, and one more. False: out of memory. */
static bool reserve(kin_leases *leases) {
  size_t wanted = leases->held.count + leases->taking + 1;
  return kin_held_reserve(&leases->held, wanted) && kin_timers_reserve(&leases->timers, wanted);
}

/* Operations that wait for it are refused. */
static void drop(kin_leases *leases, kin_lease *lease) {
  kin_message *message;
  kin_held_remove(&leases->held, lease);
  kin_timers_set(&leases->timers, &lease->timer, KIN_NEVER);
  while ((message = kin_message_list_take(&lease->waiting))) {
    ((kin_lease_op *)message)->outcome = KIN_LEASE_REFUSED;
    kin_engine_notify(leases->machine.engine, message);
  }
  kin_lease_free(lease);
}

/* ---- messages to Lua ---- */

static void free_event(kin_message *message) {
  kin_buf_free(&((kin_lease_event *)message)->row);
  free(message);
}

/* Takes the row. False, out of memory: nothing is sent. */
static bool notify(kin_leases *leases, kin_message_kind kind, const kin_lease *lease,
                   kin_buf *row) {
  kin_lease_event *event = malloc(sizeof *event + strlen(lease->key) + 1);
  if (!event)
    return false;
  event->message = (kin_message){.kind = kind, .owner = leases->machine.id, .free = free_event};
  event->row = *row;
  *row = (kin_buf){0};
  strcpy(event->key, lease->key);
  kin_engine_notify(leases->machine.engine, &event->message);
  return true;
}

static void give_back(kin_leases *leases, kin_lease_op *op) {
  op->message.kind = KIN_MESSAGE_LEASE;
  op->message.owner = leases->machine.id;
  kin_engine_notify(leases->machine.engine, &op->message);
}

/* ---- sending ---- */

static void submit(kin_leases *leases, kin_lease_op *op) {
  leases->store->vtable->submit(leases->store, op);
}

static void send(kin_leases *leases, kin_lease *lease, kin_lease_op *op) {
  op->lease = lease;
  lease->in_flight = op;
  lease->sent_at = clock_of(leases)->boottime(clock_of(leases));
  submit(leases, op);
}

/* Adds the next counter to the changes of a write. False: out of memory. */
static bool add_counter(kin_lease_op *op, const kin_lease *lease) {
  char counter[24];
  kin_buf *changes = &op->changes;
  if (op->given == 0) {
    kin_buf_add_text(changes, changes->len == 0 ? "{}" : "");
    op->given = changes->len;
  }
  if (changes->failed)
    return false;
  changes->len = op->given - 1; /* without the brace */
  kin_json_add_name(changes, "counter");
  snprintf(counter, sizeof counter, "%llu}", (unsigned long long)kin_lease_next_counter(lease->counter));
  kin_buf_add_text(changes, counter);
  return !changes->failed;
}

/* Lua's operations return to Lua; of the machine's own ones a renewal that has failed for the third
 * time, or for good. */
static void end_op(kin_leases *leases, const kin_lease *lease, kin_lease_op *op) {
  unsigned report_at = op->error.class == KIN_FATAL ? 1 : REPORT_AT;
  bool notifies =
      op->number != 0 || (op->use == KIN_LEASE_USE_RENEW && op->outcome == KIN_LEASE_FAILED &&
                          lease->failures == report_at);
  op->lease = NULL;
  if (notifies)
    give_back(leases, op);
  else
    kin_message_free(&op->message);
}

static void set_timer(kin_leases *leases, kin_lease *lease, kin_time delay) {
  kin_timers_set(&leases->timers, &lease->timer, kin_engine_now(leases->machine.engine) + delay);
}

static void send_next(kin_leases *leases, kin_lease *lease, bool renew);

/* The store could not be reached: the lease is renewed again soon. One that was to be released is
 * left to its expiry: nothing reads its shard any more. */
static void take_failure(kin_leases *leases, kin_lease *lease, kin_lease_op *op) {
  if (op->use == KIN_LEASE_USE_RELEASE) {
    end_op(leases, lease, op);
    drop(leases, lease);
    return;
  }
  kin_time pause = kin_retry_backoff(clock_of(leases), op->error.class, lease->failures);
  lease->failures++;
  set_timer(leases, lease, pause < leases->interval ? pause : leases->interval);
  end_op(leases, lease, op);
  if (leases->ends_at != 0)
    send_next(leases, lease, false);
}

/* Sends a write of the lease with the counter and owner as they are now. */
static void send_write(kin_leases *leases, kin_lease *lease, kin_lease_op *op) {
  kin_error error;
  op->counter = lease->counter;
  op->owner = kin_slice_of(leases->owner);
  op->outcome = KIN_LEASE_DONE;
  kin_buf_clear(&op->answer);
  if (add_counter(op, lease)) {
    send(leases, lease, op);
    return;
  }
  kin_error_clear(&error);
  kin_error_set(&error, KIN_TRANSIENT, KIN_CODE_OUT_OF_MEMORY, "out of memory");
  kin_lease_op_fail(op, &error);
  take_failure(leases, lease, op);
}

/* The operation of Lua that is next, or a renewal. */
static void send_next(kin_leases *leases, kin_lease *lease, bool renew) {
  if (lease->in_flight)
    return;
  kin_lease_op *op = (kin_lease_op *)kin_message_list_take(&lease->waiting);
  if (!op && renew) {
    op = kin_lease_op_create(KIN_LEASE_UPDATE, kin_slice_of(lease->key), (kin_slice){0}, 0);
    if (!op) { /* later */
      set_timer(leases, lease, KIN_SECOND);
      return;
    }
    op->use = KIN_LEASE_USE_RENEW;
  }
  if (op)
    send_write(leases, lease, op);
}

/* ---- outcomes ---- */

static void extend(kin_leases *leases, kin_lease *lease) {
  kin_deadline_set(lease->valid,
                   lease->sent_at + leases->failover - leases->failover / MARGIN_PARTS);
  lease->failures = lease->surprises = 0;
  set_timer(leases, lease, leases->interval);
}

/* What the machine wants to know of a row. */
typedef struct row_view {
  bool known; /* the row is there */
  bool ours;  /* this worker owns it */
  uint64_t counter;
  uint64_t wanted_by; /* hash */
} row_view;

static uint64_t read_count(kin_slice digits) {
  uint64_t value = 0;
  for (size_t i = 0; i < digits.len && digits.at[i] >= '0' && digits.at[i] <= '9'; i++)
    value = value * 10 + (uint64_t)(digits.at[i] - '0');
  return value;
}

static row_view view(const kin_leases *leases, const kin_buf *row) {
  row_view found = {0};
  kin_json json;
  kin_slice name, value;
  kin_json_init(&json, row->at, row->len);
  json.raw = true; /* Lua reads the row, too */
  if (row->len == 0 || !kin_json_object(&json))
    return found;
  while (kin_json_key(&json, &name) && kin_json_raw(&json, &value)) {
    if (kin_slice_is(name, "owner"))
      found.ours = kin_slice_is(value, leases->owner);
    else if (kin_slice_is(name, "counter"))
      found.counter = read_count(value);
    else if (kin_slice_is(name, "wanted_by") && !kin_slice_is(value, "null"))
      found.wanted_by = kin_slice_hash(value);
  }
  found.known = !json.bad;
  return found;
}

/* Notifies Lua once when another worker asks for the lease. As long as one does, no record may be
 * delivered: that worker takes the lease after a time, whatever Lua is busy with. Lua gives the
 * lease up, or removes the request. */
static void note_wanted(kin_leases *leases, kin_lease *lease, const row_view *row,
                        kin_buf *answer) {
  bool notifies = row->wanted_by != 0 && row->wanted_by != lease->wanted_by;
  lease->wanted_by = row->wanted_by;
  if (notifies && !notify(leases, KIN_MESSAGE_LEASE_WANTED, lease, answer))
    lease->wanted_by = 0; /* the next renewal tries again */
}

static void take_done(kin_leases *leases, kin_lease *lease, kin_lease_op *op) {
  lease->counter = kin_lease_next_counter(op->counter);
  if (op->use == KIN_LEASE_USE_RELEASE) {
    end_op(leases, lease, op);
    drop(leases, lease);
    return;
  }
  extend(leases, lease);
  if (op->answer.len > 0) {
    row_view row = view(leases, &op->answer);
    note_wanted(leases, lease, &row, &op->answer);
  }
  if (lease->wanted_by != 0)
    kin_deadline_set(lease->valid, 0);
  end_op(leases, lease, op);
  send_next(leases, lease, false);
}

/* The row after a refusal. It may be ours with a counter that an operation of ours has set whose
 * outcome was unknown: then the operation is sent again. */
static void take_refusal(kin_leases *leases, kin_lease *lease, kin_lease_op *op) {
  row_view row = view(leases, &op->answer);
  if (row.known && row.ours && ++lease->surprises <= SURPRISES_MAX) {
    lease->counter = row.counter;
    send_write(leases, lease, op);
    return;
  }
  lease->failures = 0;
  notify(leases, KIN_MESSAGE_LEASE_LOST, lease, &op->answer);
  end_op(leases, lease, op);
  drop(leases, lease);
}

/* Ends the holding of a lease, behind the operations that wait. Out of memory: it is left to its
 * expiry. */
static void release(kin_leases *leases, kin_lease *lease) {
  kin_lease_op *op =
      kin_lease_op_create(KIN_LEASE_UPDATE, kin_slice_of(lease->key), (kin_slice){0}, 0);
  if (!op) {
    if (!lease->in_flight)
      drop(leases, lease);
    return;
  }
  op->use = KIN_LEASE_USE_RELEASE;
  kin_buf_add_text(&op->changes, "{\"owner\":false,\"wanted_by\":false}");
  kin_message_list_add(&lease->waiting, &op->message);
  send_next(leases, lease, false);
}

static void take_held(kin_leases *leases, kin_lease_op *op) {
  kin_lease *lease = op->taken;
  op->taken = NULL;
  lease->counter = kin_lease_next_counter(op->counter);
  kin_held_add(&leases->held, lease);
  extend(leases, lease);
  if (leases->ends_at != 0)
    release(leases, lease);
}

/* Takes an operation that the store has completed. */
static void take_outcome(kin_leases *leases, kin_lease_op *op) {
  kin_lease *lease = op->lease;
  if (!lease) {
    if (op->use == KIN_LEASE_USE_TAKE) {
      leases->taking--;
      if (op->outcome == KIN_LEASE_DONE)
        take_held(leases, op);
    }
    give_back(leases, op);
    return;
  }
  lease->in_flight = NULL;
  if (op->outcome == KIN_LEASE_DONE)
    take_done(leases, lease, op);
  else if (op->outcome == KIN_LEASE_REFUSED)
    take_refusal(leases, lease, op);
  else
    take_failure(leases, lease, op);
}

/* ---- the machine ---- */

static void refuse_op(kin_leases *leases, kin_lease_op *op) {
  op->outcome = KIN_LEASE_REFUSED;
  give_back(leases, op);
}

static void begin_take(kin_leases *leases, kin_lease_op *op) {
  kin_error error;
  if (kin_held_find(&leases->held, op->key)) {
    refuse_op(leases, op);
  } else if (!op->taken || !reserve(leases)) {
    kin_error_clear(&error);
    kin_error_set(&error, KIN_TRANSIENT, KIN_CODE_OUT_OF_MEMORY, "out of memory");
    kin_lease_op_fail(op, &error);
    give_back(leases, op);
  } else {
    leases->taking++;
    op->taken->sent_at = clock_of(leases)->boottime(clock_of(leases));
    submit(leases, op);
  }
}

static void begin_op(kin_leases *leases, kin_lease_op *op) {
  kin_lease *lease = NULL;
  if (op->use == KIN_LEASE_USE_PLAIN) {
    submit(leases, op);
  } else if (op->use == KIN_LEASE_USE_TAKE) {
    begin_take(leases, op);
  } else if ((lease = kin_held_find(&leases->held, op->key))) {
    kin_message_list_add(&lease->waiting, &op->message);
    send_next(leases, lease, false);
  } else {
    refuse_op(leases, op);
  }
}

/* Releases all that is held or being taken. From the last to the first: one that fails at once is
 * removed from the list. */
static void begin_close(kin_leases *leases, kin_time ends_at) {
  leases->ends_at = ends_at;
  for (size_t i = leases->held.count; i-- > 0;)
    release(leases, leases->held.at[i]);
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
  } else {
    kin_time now = kin_engine_now(machine->engine);
    if (message->kind == KIN_MESSAGE_LEASE_CLOSE && leases->store->vtable->releases_at_end)
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
      send_next(leases, KIN_OWNER(timer, kin_lease, timer), true);
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
  if (!has_leases(leases) || now >= leases->ends_at)
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

static void sleep_until(kin_time due, kin_time now) {
  kin_time pause = due > now ? due - now : 0;
  nanosleep(&(struct timespec){pause / KIN_SECOND, (long)(pause % KIN_SECOND) * 1000}, NULL);
}

/* The engine ends: releases what is held within exit_timeout. Workers that end one after the other
 * share it: where one of them has waited for all of it in vain, the next ones do not wait. */
static void release_all(kin_leases *leases) {
  static atomic_int_fast64_t timed_out_at;
  kin_time now = kin_monotonic(), due;
  if (leases->ends_at == 0) {
    bool waits = now >= (kin_time)atomic_load(&timed_out_at) + KIN_SECOND;
    begin_close(leases, waits ? now + leases->exit_timeout : now);
  }
  while ((due = run(leases, now)) != KIN_NEVER && has_leases(leases) && now < leases->ends_at) {
    sleep_until(due < leases->ends_at ? due : leases->ends_at, now);
    now = kin_monotonic();
  }
  if (has_leases(leases))
    atomic_store(&timed_out_at, now);
}

/* Engine thread, or that which has joined it. */
static void destroy(kin_machine *machine) {
  kin_leases *leases = (kin_leases *)machine;
  if (machine->engine && leases->store->vtable->releases_at_end && has_leases(leases))
    release_all(leases);
  kin_leases_free(leases);
}

static void refuse(kin_machine *machine) {
  kin_leases *leases = (kin_leases *)machine;
  kin_engine_notify(machine->engine, leases->reserved_error);
  leases->reserved_error = NULL;
}

kin_leases *kin_leases_create(uint64_t id, const kin_leases_options *options) {
  static const kin_machine_vtable vtable = {receive, step, refuse, destroy, NULL};
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
  leases->interval = options->failover / RENEWALS_PER_FAILOVER;
  if (leases->owner && leases->reserved_error)
    return leases;
  kin_leases_free(leases);
  return NULL;
}

bool kin_leases_start(kin_engine *engine, kin_leases *leases) {
  return kin_engine_post(engine, &leases->machine.message);
}
