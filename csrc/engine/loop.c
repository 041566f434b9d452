#include "engine/internal.h"

#include <stdlib.h>

enum { STARTS_A_STEP = 64 };

static int queued_count(kin_engine *engine) {
  return atomic_load_explicit(&engine->shared.counters.queued, memory_order_relaxed);
}

/* ---- the list of requests ---- */

static void link_request(kin_engine *engine, kin_request *request) {
  request->next = NULL;
  request->previous = engine->engine_only.last_request;
  *(engine->engine_only.last_request ? &engine->engine_only.last_request->next
                                     : &engine->engine_only.requests) = request;
  engine->engine_only.last_request = request;
}

static void unlink_request(kin_engine *engine, kin_request *request) {
  *(request->previous ? &request->previous->next : &engine->engine_only.requests) = request->next;
  *(request->next ? &request->next->previous : &engine->engine_only.last_request) =
      request->previous;
}

static void set_timer(kin_engine *engine, kin_request *request, kin_time due) {
  kin_timers_set(&engine->engine_only.request_timers, &request->timer, due);
}

static void set_state(kin_engine *engine, kin_request *request, int state) {
  int in_flight = (state == KIN_REQUEST_IN_FLIGHT) - (request->state == KIN_REQUEST_IN_FLIGHT);
  int queued = (state == KIN_REQUEST_QUEUED) - (request->state == KIN_REQUEST_QUEUED);
  kin_slots_note(engine, request, in_flight, queued);
  if (in_flight < 0) {
    engine->engine_only.paused -= request->paused;
    request->paused = false;
  }
  if (queued < 0) {
    engine->engine_only.parked -= request->parked;
    request->parked = request->refused = false;
  }
  request->state = state;
}

/* Removes the request from the engine, in any state. */
static void take_out(kin_engine *engine, kin_request *request) {
  if (request->state == KIN_REQUEST_IN_FLIGHT)
    engine->engine_only.transport->cancel(engine->engine_only.transport, &request->exchange);
  set_state(engine, request, KIN_REQUEST_IDLE);
  set_timer(engine, request, KIN_NEVER);
  engine->engine_only.request_count--;
  unlink_request(engine, request);
}

void kin_engine_drop_requests(kin_engine *engine, uint64_t machine) {
  for (kin_request *request = engine->engine_only.requests, *next; request; request = next) {
    next = request->next;
    if (request->machine != machine)
      continue;
    take_out(engine, request);
    kin_message_free(&request->message);
  }
}

/* ---- machines ---- */

static kin_machine *find_machine(kin_engine *engine, uint64_t id) {
  kin_machine *machine = engine->engine_only.machines;
  while (machine && machine->id != id)
    machine = machine->next;
  return machine;
}

/* The machine is stepped after the messages at hand are handed out. */
static void give(kin_engine *engine, kin_machine *machine, kin_message *message) {
  machine->vtable->receive(machine, message);
  machine->received = true;
  kin_timers_set(&engine->engine_only.machine_timers, &machine->timer, 0);
}

void kin_engine_notify(kin_engine *engine, kin_message *message) {
  kin_mailbox_post(&engine->shared.outbox, message);
}

void kin_engine_deliver(kin_engine *engine, uint64_t machine_id, kin_message *message) {
  kin_machine *machine = machine_id ? find_machine(engine, machine_id) : NULL;
  if (machine)
    give(engine, machine, message);
  else
    kin_engine_notify(engine, message);
}

void kin_loop_remove_machine(kin_engine *engine, uint64_t id) {
  kin_machine **link = &engine->engine_only.machines;
  while (*link && (*link)->id != id)
    link = &(*link)->next;
  kin_machine *machine = *link;
  if (!machine)
    return;
  *link = machine->next;
  kin_timers_set(&engine->engine_only.machine_timers, &machine->timer, KIN_NEVER);
  engine->engine_only.machine_count--;
  machine->vtable->destroy(machine);
  kin_engine_drop_requests(engine, id);
}

static void step_machine(kin_engine *engine, kin_machine *machine, kin_time now) {
  machine->received = false;
  kin_time due = machine->vtable->step(machine, now);
  if (due == KIN_MACHINE_DONE)
    kin_loop_remove_machine(engine, machine->id);
  else if (!machine->received)
    kin_timers_set(&engine->engine_only.machine_timers, &machine->timer, due);
}

static void add_machine(kin_engine *engine, kin_machine *machine) {
  machine->engine = engine;
  if (!kin_timers_reserve(&engine->engine_only.machine_timers,
                          engine->engine_only.machine_count + 1)) {
    machine->vtable->refuse(machine);
    machine->vtable->destroy(machine);
    return;
  }
  engine->engine_only.machine_count++;
  machine->next = engine->engine_only.machines;
  engine->engine_only.machines = machine;
  kin_timers_set(&engine->engine_only.machine_timers, &machine->timer, 0);
}

/* ---- the states of a request; see request.h ---- */

static void finish(kin_engine *engine, kin_request *request) {
  take_out(engine, request);
  request->message.kind = KIN_MESSAGE_ANSWER;
  request->vtable->deliver(request, engine);
}

void kin_loop_fail(kin_engine *engine, kin_request *request, const char *code,
                   const char *message) {
  kin_error_clear(&request->error);
  kin_slice_copy(kin_slice_of(request->operation), request->error.operation,
                 sizeof request->error.operation);
  kin_error_set(&request->error, KIN_FATAL, code, "%s", message);
  finish(engine, request);
}

static void queue(kin_engine *engine, kin_request *request) {
  kin_time first = request->start_deadline;
  set_state(engine, request, KIN_REQUEST_QUEUED);
  set_timer(engine, request, request->deadline < first ? request->deadline : first);
}

static void rest(kin_engine *engine, kin_request *request, kin_time delay) {
  set_state(engine, request, KIN_REQUEST_RESTING);
  set_timer(engine, request, kin_time_after(kin_engine_now(engine), delay));
}

void kin_engine_send(kin_engine *engine, kin_request *request) {
  link_request(engine, request);
  if (!kin_timers_reserve(&engine->engine_only.request_timers,
                          ++engine->engine_only.request_count)) {
    kin_loop_fail(engine, request, KIN_CODE_OUT_OF_MEMORY, "out of memory");
    return;
  }
  kin_time delay = request->vtable->accept(request, engine);
  if (request->vtable->slot == KIN_SLOT_NONE)
    rest(engine, request, delay);
  else
    queue(engine, request);
}

static void start(kin_engine *engine, kin_request *request) {
  if (!request->vtable->prepare(request, engine)) {
    finish(engine, request);
    return;
  }
  set_timer(engine, request, request->deadline);
  request->started_at = kin_engine_now(engine);
  set_state(engine, request, KIN_REQUEST_IN_FLIGHT);
  engine->engine_only.transport->start(engine->engine_only.transport, &request->exchange);
}

/* The clock for the expiry of credentials. */
static kin_time credentials_wall(kin_engine *engine) {
  const kin_retry *retry = &engine->engine_only.retry;
  return engine->engine_only.clock.wall(&engine->engine_only.clock) +
         kin_retry_expiry_offset(retry->skew, retry->confirmed_at, kin_engine_now(engine));
}

/* ---- credentials ---- */

/* The machine that lets the request wait for credentials, or NULL. */
static kin_machine *patient_machine(kin_engine *engine, const kin_request *request) {
  kin_machine *machine = request->machine ? find_machine(engine, request->machine) : NULL;
  return machine && machine->vtable->park ? machine : NULL;
}

bool kin_loop_can_wait(kin_engine *engine, const kin_request *request) {
  return patient_machine(engine, request) != NULL;
}

/* There are no credentials for a queued request: its machine lets it wait, or it fails. */
static void park(kin_engine *engine, kin_request *request) {
  const kin_credentials_store *store = &engine->engine_only.credentials;
  kin_error error = store->problem;
  kin_slice_copy(kin_slice_of(request->operation), error.operation, sizeof error.operation);
  kin_machine *machine = patient_machine(engine, request);
  if (error.class != KIN_FATAL && machine && machine->vtable->park(machine, request, &error)) {
    engine->engine_only.parked += !request->parked;
    request->parked = true;
  } else if (request->refused && kin_error_is_about_credentials(&error)) {
    finish(engine, request); /* its own error has the status and the request id */
  } else {
    kin_loop_fail(engine, request, error.code, error.message);
  }
}

/* Whether a queued request may be signed now. Otherwise it waits for the provider, is parked or
 * fails. */
static bool may_sign(kin_engine *engine, kin_request *request, kin_credentials_state state) {
  kin_credentials_store *store = &engine->engine_only.credentials;
  if (state == KIN_CREDENTIALS_READY)
    return true;
  bool can_wait = kin_loop_can_wait(engine, request);
  if (state == KIN_CREDENTIALS_DOUBTED) {
    if (!can_wait || store->problem.class == KIN_FATAL)
      return true;
    if (request->parked && store->trial) {
      store->trial = false;
      return true;
    }
    if (!request->parked)
      park(engine, request);
    return false;
  }
  if (!store->requested && !can_wait)
    kin_credentials_hurry(store);
  else if (!store->requested && !request->parked && store->problem.class != KIN_OK &&
           kin_engine_now(engine) < store->retry_at)
    park(engine, request);
  return false;
}

/* Starts requests that wait for a slot or for credentials, in order of arrival; STARTS_A_STEP at
 * most, so that timers and sockets are served between. True: more could be started. */
static bool start_some(kin_engine *engine) {
  kin_credentials_store *store = &engine->engine_only.credentials;
  kin_credentials_state state = kin_credentials_check(store, credentials_wall(engine));
  int started = 0;
  bool others;
  for (kin_request *request = engine->engine_only.requests, *next;
       request && queued_count(engine) > 0; request = next) {
    next = request->next;
    if (request->state != KIN_REQUEST_QUEUED)
      continue;
    if (!kin_slots_may_start(engine, request, &others)) {
      if (!others)
        return false;
      continue;
    }
    if (state == KIN_CREDENTIALS_MISSING && store->requested)
      return false;
    if (state != KIN_CREDENTIALS_READY && !store->trial &&
        queued_count(engine) == engine->engine_only.parked)
      return false;
    if (!may_sign(engine, request, state))
      continue;
    if (started++ == STARTS_A_STEP)
      return true;
    start(engine, request);
  }
  return false;
}

static bool start_queued(kin_engine *engine) {
  if (queued_count(engine) == 0)
    return false;
  bool more = start_some(engine);
  if (kin_credentials_ask(&engine->engine_only.credentials, credentials_wall(engine),
                          kin_engine_now(engine)) &&
      !atomic_exchange(&engine->shared.wanted_posted, true))
    kin_engine_notify(engine, &engine->shared.credentials_wanted);
  return more;
}

/* Requests that are parked may have credentials already, and wait for a slot. */
static bool is_ready(kin_engine *engine) {
  return kin_credentials_check(&engine->engine_only.credentials, credentials_wall(engine)) ==
         KIN_CREDENTIALS_READY;
}

/* When the provider is asked again for requests that are parked. */
static kin_time credentials_due(kin_engine *engine) {
  const kin_credentials_store *store = &engine->engine_only.credentials;
  bool waits = engine->engine_only.parked > 0 && !store->requested && !is_ready(engine);
  return waits ? store->retry_at : KIN_NEVER;
}

/* An attempt is finished. */
static void complete(kin_engine *engine, kin_request *request) {
  kin_time delay = 0;
  set_state(engine, request, KIN_REQUEST_IDLE);
  switch (request->vtable->classify(request, engine, &delay)) {
  case KIN_NEXT_DELIVER:
    finish(engine, request);
    return;
  case KIN_NEXT_QUEUE:
    queue(engine, request);
    return;
  case KIN_NEXT_RETRY:
    rest(engine, request, delay);
  }
}

static void fail_late(kin_engine *engine, kin_request *request) {
  const kin_credentials_store *store = &engine->engine_only.credentials;
  bool unsigned_yet = request->state == KIN_REQUEST_QUEUED && !is_ready(engine);
  request->late = true;
  if (request->parked && unsigned_yet)
    kin_loop_fail(engine, request, store->problem.code, store->problem.message);
  else if (unsigned_yet && store->requested)
    kin_loop_fail(engine, request, KIN_CODE_TIMEOUT,
                  "the credentials provider did not answer before the deadline");
  else
    kin_loop_fail(engine, request, KIN_CODE_TIMEOUT,
                  "the deadline of the call passed before an answer came");
}

/* The timer of a request: its delay is over, or a deadline has passed. */
static void request_due(kin_engine *engine, kin_request *request) {
  if (request->state != KIN_REQUEST_RESTING)
    fail_late(engine, request);
  else if (request->vtable->slot == KIN_SLOT_NONE)
    start(engine, request);
  else
    queue(engine, request);
}

/* ---- messages ---- */

static void cancel_request(kin_engine *engine, uint64_t owner) {
  for (kin_request *request = engine->engine_only.requests; request; request = request->next) {
    if (request->message.owner == owner && request->machine == 0) {
      kin_loop_fail(engine, request, KIN_CODE_CANCELLED, "the call was cancelled");
      return;
    }
  }
}

static void take_credentials(kin_engine *engine, kin_credentials_message *message) {
  kin_credentials_store *store = &engine->engine_only.credentials;
  if (!kin_credentials_put(store, message, credentials_wall(engine), kin_engine_now(engine)))
    return;
  bool missing = kin_credentials_check(store, credentials_wall(engine)) == KIN_CREDENTIALS_MISSING;
  for (kin_request *request = engine->engine_only.requests, *next; request; request = next) {
    next = request->next;
    if (request->state == KIN_REQUEST_QUEUED &&
        (missing || request->refused || kin_loop_can_wait(engine, request)))
      park(engine, request);
  }
}

void kin_loop_take_message(kin_engine *engine, kin_message *message) {
  uint64_t owner = message->owner;
  kin_machine *machine;
  switch (message->kind) {
  case KIN_MESSAGE_REQUEST:
    kin_engine_send(engine, (kin_request *)message);
    return;
  case KIN_MESSAGE_CREDENTIALS:
    take_credentials(engine, (kin_credentials_message *)message);
    return;
  case KIN_MESSAGE_TRACE_HEADER:
    free(engine->engine_only.trace_header);
    engine->engine_only.trace_header = (kin_trace_header *)message;
    return;
  case KIN_MESSAGE_MACHINE:
    add_machine(engine, (kin_machine *)message);
    return;
  case KIN_MESSAGE_CANCEL:
    kin_message_free(message);
    cancel_request(engine, owner);
    return;
  case KIN_MESSAGE_REMOVE:
    kin_message_free(message);
    kin_loop_remove_machine(engine, owner);
    return;
  default:
    machine = find_machine(engine, owner);
    if (machine)
      give(engine, machine, message);
    else
      kin_message_free(message);
  }
}

/* ---- the step ---- */

static void run_timers(kin_engine *engine, kin_time now) {
  kin_timer *timer;
  while ((timer = kin_timers_pop(&engine->engine_only.request_timers, now)))
    request_due(engine, KIN_OWNER(timer, kin_request, timer));
  while ((timer = kin_timers_pop(&engine->engine_only.machine_timers, now)))
    step_machine(engine, KIN_OWNER(timer, kin_machine, timer), now);
}

static bool complete_finished(kin_engine *engine) {
  kin_exchange *exchange;
  bool any = false;
  while ((exchange = engine->engine_only.transport->finished(engine->engine_only.transport))) {
    complete(engine, KIN_OWNER(exchange, kin_request, exchange));
    any = true;
  }
  return any;
}

bool kin_engine_watch(kin_engine *engine, int fd, kin_machine *machine) {
  if (engine->engine_only.watch_count == KIN_WATCHES_MAX)
    return false;
  engine->engine_only.watchers[engine->engine_only.watch_count] = machine;
  engine->engine_only.watches[engine->engine_only.watch_count++] = (kin_watch){.fd = fd};
  return true;
}

void kin_engine_unwatch(kin_engine *engine, int fd) {
  for (size_t i = 1; i < engine->engine_only.watch_count; i++) {
    if (engine->engine_only.watches[i].fd != fd)
      continue;
    engine->engine_only.watch_count--;
    engine->engine_only.watches[i] = engine->engine_only.watches[engine->engine_only.watch_count];
    engine->engine_only.watchers[i] = engine->engine_only.watchers[engine->engine_only.watch_count];
    return;
  }
}

void kin_loop_wait(kin_engine *engine, kin_time timeout) {
  engine->engine_only.transport->wait(engine->engine_only.transport, engine->engine_only.watches,
                                      engine->engine_only.watch_count, timeout);
  if (engine->engine_only.watches[0].readable)
    kin_wake_clear(&engine->shared.inbox.wake);
  for (size_t i = 1; i < engine->engine_only.watch_count; i++)
    if (engine->engine_only.watches[i].readable)
      kin_timers_set(&engine->engine_only.machine_timers, &engine->engine_only.watchers[i]->timer,
                     0);
}

kin_time kin_engine_step(kin_engine *engine) {
  kin_message_list list;
  kin_message *message;
  kin_message_list_init(&list);
  kin_mailbox_take_all(&engine->shared.inbox, &list);
  while ((message = kin_message_list_take(&list)))
    kin_loop_take_message(engine, message);
  run_timers(engine, kin_engine_now(engine));
  bool more = start_queued(engine);
  /* after the starts, so that their first bytes are sent in this step */
  if (complete_finished(engine)) {
    run_timers(engine, kin_engine_now(engine));
    more = start_queued(engine);
  }
  if (more)
    return 0;
  kin_time request = kin_timers_next(&engine->engine_only.request_timers);
  kin_time machine = kin_timers_next(&engine->engine_only.machine_timers);
  kin_time credentials = credentials_due(engine);
  kin_time due = request < machine ? request : machine;
  return due < credentials ? due : credentials;
}

/* ---- for machines ---- */

kin_clock *kin_engine_clock(kin_engine *engine) {
  return &engine->engine_only.clock;
}

kin_time kin_engine_now(kin_engine *engine) {
  return engine->engine_only.clock.monotonic(&engine->engine_only.clock);
}

kin_time kin_engine_wall(kin_engine *engine) {
  return engine->engine_only.clock.wall(&engine->engine_only.clock) +
         engine->engine_only.retry.skew;
}

struct kin_retry *kin_engine_retry(kin_engine *engine) {
  return &engine->engine_only.retry;
}
