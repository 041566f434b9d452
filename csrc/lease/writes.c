#include "lease/writes.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/retry.h"
#include "lease/row_view.h"
#include "wire/json.h"

/* Another worker waits for `failover` after it has seen a renewal, by a clock of its own. */
enum { MARGIN_PARTS = 10 };

/* The counter of a lease that is ours was not as expected so often in a row. */
enum { MISMATCHES_MAX = 3 };

/* Failures in a row. */
enum { REPORT_AT = 3 };

/* As long as a lease is valid, it is tried again within such a part of the time that is left. */
enum { PAUSE_PARTS = 2 };
static const kin_time left_least = 100 * KIN_MILLISECOND;

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

static void send(kin_leases *leases, kin_lease *lease, kin_lease_op *op) {
  op->lease = lease;
  lease->in_flight = op;
  lease->sent_at = kin_leases_boottime(leases);
  kin_leases_submit(leases, op);
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
  snprintf(counter, sizeof counter, "%llu}",
           (unsigned long long)kin_lease_next_counter(lease->counter));
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
    kin_leases_give_back(leases, op);
  else
    kin_message_free(&op->message);
}

static void set_timer(kin_leases *leases, kin_lease *lease, kin_time delay) {
  kin_timers_set(&leases->timers, &lease->timer, kin_engine_now(leases->machine.engine) + delay);
}

/* The pause after failures: so that a store that is back in time finds the lease still valid. */
static kin_time pause_of(kin_leases *leases, const kin_lease *lease, kin_error_class class) {
  kin_time pause =
      kin_retry_backoff(kin_engine_clock(leases->machine.engine), class, lease->failures);
  kin_time left = kin_deadline_left(lease->valid, kin_leases_boottime(leases));
  kin_time most = left > left_least ? left / PAUSE_PARTS : leases->interval;
  if (most > leases->interval)
    most = leases->interval;
  return pause < most ? pause : most;
}

/* The store could not be reached: the lease is renewed again soon. One that was to be released is
 * left to its expiry: nothing reads its shard any more. */
static void take_failure(kin_leases *leases, kin_lease *lease, kin_lease_op *op) {
  if (op->use == KIN_LEASE_USE_RELEASE) {
    end_op(leases, lease, op);
    drop(leases, lease);
    return;
  }
  set_timer(leases, lease, pause_of(leases, lease, op->error.class));
  lease->failures++;
  end_op(leases, lease, op);
  if (leases->ends_at != 0)
    kin_writes_send_next(leases, lease, false);
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

/* A renewal is due: what waits for it is sent now, one after the other. */
static void send_carried(kin_lease *lease) {
  for (kin_message *message = lease->waiting.first; message; message = message->next) {
    kin_lease_op *op = (kin_lease_op *)message;
    lease->urgent += op->use == KIN_LEASE_USE_CARRY;
    if (op->use == KIN_LEASE_USE_CARRY)
      op->use = KIN_LEASE_USE_WRITE;
  }
}

void kin_writes_send_next(kin_leases *leases, kin_lease *lease, bool renew) {
  if (lease->in_flight || (lease->urgent == 0 && !renew))
    return;
  if (renew)
    send_carried(lease);
  kin_lease_op *op = (kin_lease_op *)kin_message_list_take(&lease->waiting);
  if (op && op->use != KIN_LEASE_USE_CARRY)
    lease->urgent--;
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

void kin_writes_add(kin_leases *leases, kin_lease *lease, kin_lease_op *op) {
  kin_message_list_add(&lease->waiting, &op->message);
  if (op->use != KIN_LEASE_USE_CARRY)
    lease->urgent++;
  kin_writes_send_next(leases, lease, false);
}

/* ---- outcomes ---- */

void kin_writes_extend(kin_leases *leases, kin_lease *lease) {
  kin_time age = kin_leases_boottime(leases) - lease->sent_at;
  kin_deadline_set(lease->valid,
                   lease->sent_at + leases->failover - leases->failover / MARGIN_PARTS);
  lease->failures = lease->mismatches = 0;
  set_timer(leases, lease, age < leases->interval ? leases->interval - age : 0);
}

/* Notifies Lua once when another worker asks for the lease. As long as one does, no record may be
 * delivered: that worker takes the lease after a time, whatever Lua is busy with. Lua gives the
 * lease up, or removes the request. */
static void note_wanted(kin_leases *leases, kin_lease *lease, const kin_row_view *row,
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
  kin_writes_extend(leases, lease);
  if (op->answer.len > 0) {
    kin_row_view row = kin_row_view_of(&op->answer, leases->owner);
    note_wanted(leases, lease, &row, &op->answer);
  }
  if (lease->wanted_by != 0)
    kin_deadline_set(lease->valid, 0);
  end_op(leases, lease, op);
  kin_writes_send_next(leases, lease, false);
}

/* The row after a refusal. It may be ours with the counter that an operation of ours has set whose
 * outcome was unknown: then the operation is sent again. With any other counter it is lost even if
 * it is ours: another worker has had it, and has handed it over, behind what this one has read. */
static void take_refusal(kin_leases *leases, kin_lease *lease, kin_lease_op *op) {
  kin_row_view row = kin_row_view_of(&op->answer, leases->owner);
  bool is_kept = row.known && row.ours && row.counter == kin_lease_next_counter(lease->counter);
  if (is_kept && ++lease->mismatches <= MISMATCHES_MAX) {
    lease->counter = row.counter;
    send_write(leases, lease, op);
    return;
  }
  lease->failures = 0;
  notify(leases, KIN_MESSAGE_LEASE_LOST, lease, &op->answer);
  end_op(leases, lease, op);
  drop(leases, lease);
}

void kin_writes_release(kin_leases *leases, kin_lease *lease) {
  kin_lease_op *op =
      kin_lease_op_create(KIN_LEASE_UPDATE, kin_slice_of(lease->key), (kin_slice){0}, 0);
  if (!op) {
    if (!lease->in_flight)
      drop(leases, lease);
    return;
  }
  op->use = KIN_LEASE_USE_RELEASE;
  kin_buf_add_text(&op->changes, "{\"owner\":false,\"wanted_by\":false}");
  kin_writes_add(leases, lease, op);
}

void kin_writes_complete(kin_leases *leases, kin_lease_op *op) {
  kin_lease *lease = op->lease;
  lease->in_flight = NULL;
  if (op->outcome == KIN_LEASE_DONE)
    take_done(leases, lease, op);
  else if (op->outcome == KIN_LEASE_REFUSED)
    take_refusal(leases, lease, op);
  else
    take_failure(leases, lease, op);
}
