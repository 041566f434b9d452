#include <stdio.h>
#include <stdlib.h>

#include "engine/internal.h"

enum { CALLS_A_STEP = 64 };

static kin_time monotonic(kin_engine *engine) {
  return engine->clock.monotonic(&engine->clock);
}

/* Only this thread writes it. */
static void add(atomic_int *count, int more) {
  atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + more,
                        memory_order_relaxed);
}

static int value_of(atomic_int *count) {
  return atomic_load_explicit(count, memory_order_relaxed);
}

/* ---- the list of calls ---- */

static void link_call(kin_engine *engine, kin_call *call) {
  call->next = NULL;
  call->before = engine->last_call;
  *(engine->last_call ? &engine->last_call->next : &engine->calls) = call;
  engine->last_call = call;
}

static void unlink_call(kin_engine *engine, kin_call *call) {
  *(call->before ? &call->before->next : &engine->calls) = call->next;
  *(call->next ? &call->next->before : &engine->last_call) = call->before;
}

static void set_state(kin_engine *engine, kin_call *call, int state) {
  int in_flight = (state == KIN_CALL_IN_FLIGHT) - (call->state == KIN_CALL_IN_FLIGHT);
  int queued = (state == KIN_CALL_QUEUED) - (call->state == KIN_CALL_QUEUED);
  /* what lasts, and what brings keys, takes no slot from the others */
  if (in_flight != 0 && !call->fetch)
    add(call->stream ? &engine->counters.streams : &engine->counters.in_flight, in_flight);
  if (queued != 0)
    add(&engine->counters.queued, queued);
  call->state = state;
}

/* Out of the engine's hands, whatever it was doing. */
static void take_out(kin_engine *engine, kin_call *call) {
  if (call->state == KIN_CALL_IN_FLIGHT)
    engine->transport->cancel(engine->transport, &call->exchange);
  set_state(engine, call, KIN_CALL_IDLE);
  kin_timers_set(&engine->call_timers, &call->timer, KIN_NEVER);
  engine->call_count--;
  unlink_call(engine, call);
}

/* ---- machines ---- */

static kin_machine *find_machine(kin_engine *engine, uint64_t id) {
  kin_machine *machine = engine->machines;
  while (machine && machine->id != id)
    machine = machine->next;
  return machine;
}

/* The machine is stepped as soon as the messages at hand are given out. */
static void give(kin_engine *engine, kin_machine *machine, kin_message *message) {
  machine->vtable->receive(machine, message);
  machine->received = true;
  kin_timers_set(&engine->machine_timers, &machine->timer, 0);
}

void kin_engine_drop_calls(kin_engine *engine, uint64_t machine) {
  for (kin_call *call = engine->calls, *next; call; call = next) {
    next = call->next;
    if (call->machine != machine)
      continue;
    take_out(engine, call);
    kin_message_free(&call->message);
  }
}

void kin_loop_remove_machine(kin_engine *engine, uint64_t id) {
  kin_machine **link = &engine->machines;
  while (*link && (*link)->id != id)
    link = &(*link)->next;
  kin_machine *machine = *link;
  if (!machine)
    return;
  *link = machine->next;
  kin_engine_drop_calls(engine, id);
  kin_timers_set(&engine->machine_timers, &machine->timer, KIN_NEVER);
  engine->machine_count--;
  machine->vtable->destroy(machine);
}

static void step_machine(kin_engine *engine, kin_machine *machine, kin_time now) {
  machine->received = false;
  kin_time due = machine->vtable->step(machine, now);
  if (due == KIN_MACHINE_DONE)
    kin_loop_remove_machine(engine, machine->id);
  else if (!machine->received)
    kin_timers_set(&engine->machine_timers, &machine->timer, due);
}

static void plug_in(kin_engine *engine, kin_machine *machine) {
  machine->engine = engine;
  if (!kin_timers_reserve(&engine->machine_timers, engine->machine_count + 1)) {
    machine->vtable->refuse(machine);
    machine->vtable->destroy(machine);
    return;
  }
  engine->machine_count++;
  machine->next = engine->machines;
  engine->machines = machine;
  kin_timers_set(&engine->machine_timers, &machine->timer, 0);
}

/* ---- calls ---- */

static void finish(kin_engine *engine, kin_call *call) {
  take_out(engine, call);
  if (call->error.class != KIN_OK && !call->fetch)
    kin_count(&engine->counters.failed, 1);
  call->message.kind = KIN_MESSAGE_ANSWER;
  kin_machine *machine = call->machine ? find_machine(engine, call->machine) : NULL;
  if (machine)
    give(engine, machine, &call->message);
  else
    kin_engine_tell(engine, &call->message);
}

void kin_loop_finish_with(kin_engine *engine, kin_call *call, const char *code, const char *why) {
  kin_error_clear(&call->error);
  kin_slice_copy(kin_slice_of(call->operation), call->error.operation,
                 sizeof call->error.operation);
  kin_error_set(&call->error, KIN_FATAL, code, "%s", why);
  finish(engine, call);
}

void kin_engine_send(kin_engine *engine, kin_call *call) {
  link_call(engine, call);
  if (!kin_timers_reserve(&engine->call_timers, ++engine->call_count)) {
    kin_loop_finish_with(engine, call, KIN_CODE_CONNECTION, "out of memory");
    return;
  }
  if (call->fetch) {
    set_state(engine, call, KIN_CALL_RESTING);
    kin_timers_set(&engine->call_timers, &call->timer,
                   kin_time_after(monotonic(engine), call->fetch_after));
    return;
  }
  kin_count(&engine->counters.calls, 1);
  if (call->deadline == KIN_NEVER && call->machine == 0 && !call->stream)
    call->deadline = kin_time_after(monotonic(engine), engine->call_timeout);
  set_state(engine, call, KIN_CALL_QUEUED);
  kin_timers_set(&engine->call_timers, &call->timer, call->deadline);
}

static void trace(kin_engine *engine, kin_event_kind kind, const kin_call *call, kin_time delay) {
  if (!engine->trace.enabled)
    return;
  const kin_target *target = call->target ? call->target : engine->target;
  kin_message *event =
      kin_trace_event(&engine->trace, kind, call, target->url, monotonic(engine), delay);
  if (event)
    kin_engine_tell(engine, event);
}

void kin_engine_note_retry(kin_engine *engine, const kin_call *call, kin_time delay) {
  kin_count(&engine->counters.retries, 1);
  trace(engine, KIN_EVENT_RETRY, call, delay);
}

/* A version 4 UUID: random thrown once, and a count. */
static void make_invocation_id(kin_engine *engine, kin_call *call) {
  const unsigned *random = engine->name;
  snprintf(call->invocation, sizeof call->invocation, "%08x-%04x-4%03x-%04x-%04x%08x", random[0],
           random[1] >> 16, random[1] & 0xfff, 0x8000 | (random[2] >> 18), random[2] & 0xffff,
           engine->named++);
}

static void start(kin_engine *engine, kin_call *call) {
  call->started_at = monotonic(engine);
  set_state(engine, call, KIN_CALL_IN_FLIGHT);
  engine->transport->start(engine->transport, &call->exchange);
}

/* Past the queue: what waits there may be waiting for the keys that this one is to bring. */
static void start_fetch(kin_engine *engine, kin_call *call) {
  kin_timers_set(&engine->call_timers, &call->timer, KIN_NEVER);
  kin_call_prepare_fetch(call);
  start(engine, call);
}

static void start_call(kin_engine *engine, kin_call *call) {
  if (call->attempt++ == 0)
    make_invocation_id(engine, call);
  const kin_target *target = call->target ? call->target : engine->target;
  if (!kin_call_prepare(call, target, engine->signer, &engine->credentials.current->credentials,
                        kin_engine_wall(engine))) {
    finish(engine, call);
    return;
  }
  if (call->ignores_deadline) {
    kin_timers_set(&engine->call_timers, &call->timer, KIN_NEVER);
  } else if (call->deadline != KIN_NEVER) {
    kin_time left = call->deadline - monotonic(engine);
    if (left < call->exchange.timeout)
      call->exchange.timeout = left > 0 ? left : KIN_MILLISECOND;
  }
  call->keys = engine->credentials.generation;
  call->skew = engine->retry.skew;
  call->sent_at = engine->clock.wall(&engine->clock);
  kin_count(&engine->counters.attempts, 1);
  kin_count(&engine->counters.bytes_sent, call->body.len);
  trace(engine, KIN_EVENT_REQUEST, call, 0);
  start(engine, call);
}

/* By which keys expire: the earlier of both clocks. When it is ours that is ahead, the service's
 * counts; but one wrong Date must not make all keys look old. Keys that serve too long are refused
 * by the service, and others are asked for. */
static kin_time credentials_wall(kin_engine *engine) {
  kin_time ours = engine->clock.wall(&engine->clock), theirs = kin_engine_wall(engine);
  return ours < theirs ? ours : theirs;
}

/* Calls that wait for a connection, or for keys. In order of arrival, and only so many a step that
 * building them cannot starve timers and sockets. True: some are left that could fly. */
static bool start_queued(kin_engine *engine) {
  int started = 0;
  bool want;
  for (kin_call *call = engine->calls, *next; call && value_of(&engine->counters.queued) > 0;
       call = next) {
    next = call->next;
    if (call->state != KIN_CALL_QUEUED)
      continue;
    if (value_of(&engine->counters.in_flight) >= engine->max_connections)
      return false;
    bool ready = kin_credentials_ready(&engine->credentials, credentials_wall(engine), &want);
    if (want)
      kin_engine_tell(engine, &engine->credentials_wanted);
    if (!ready)
      return false;
    if (started++ == CALLS_A_STEP)
      return true;
    start_call(engine, call);
  }
  return false;
}

static bool credentials_expired(const kin_error *error) {
  return strcmp(error->code, "ExpiredTokenException") == 0 ||
         strcmp(error->code, "ExpiredToken") == 0 ||
         strcmp(error->code, "UnrecognizedClientException") == 0;
}

/* An attempt is over: the call is done, or rests until its next attempt. */
static void complete(kin_engine *engine, kin_call *call) {
  kin_error *error = &call->error;
  kin_time delay;
  set_state(engine, call, KIN_CALL_IDLE);
  if (call->fetch) {
    kin_call_classify(call);
    finish(engine, call);
    return;
  }
  if (call->exchange.date[0] && !call->exchange.aged && call->exchange.failed == KIN_OK)
    kin_retry_note_date(&engine->retry, call->exchange.date, call->sent_at,
                        engine->clock.wall(&engine->clock));
  kin_call_classify(call);
  kin_count(&engine->counters.bytes_received, call->exchange.answer.len);
  trace(engine, KIN_EVENT_RESPONSE, call, 0);
  if (error->class == KIN_THROTTLED)
    kin_count(&engine->counters.throttled, 1);
  if (error->class == KIN_OK) {
    if (call->machine == 0) /* machines own their retrying */
      kin_retry_success(&engine->retry, call->cost);
    finish(engine, call);
    return;
  }
  if (call->began) {
    finish(engine, call);
    return;
  }
  if (kin_retry_is_skew(&engine->retry, error->code, call->skew))
    error->class = KIN_TRANSIENT;
  if (credentials_expired(error) && !call->asked_for_credentials &&
      kin_credentials_refuse(&engine->credentials, call->keys)) {
    call->asked_for_credentials = true;
    set_state(engine, call, KIN_CALL_QUEUED);
    kin_timers_set(&engine->call_timers, &call->timer, call->deadline);
    return;
  }
  kin_time left = call->deadline == KIN_NEVER ? KIN_NEVER : call->deadline - monotonic(engine);
  if (!kin_retry_again(&engine->retry, &engine->clock, error, call->attempt, call->max_attempts,
                       kin_call_retry_after(call), left, &delay, &call->cost)) {
    finish(engine, call);
    return;
  }
  kin_engine_note_retry(engine, call, delay);
  set_state(engine, call, KIN_CALL_RESTING);
  kin_timers_set(&engine->call_timers, &call->timer, kin_time_after(monotonic(engine), delay));
}

/* A call's timer: its rest is over, or its time is up. */
static void call_due(kin_engine *engine, kin_call *call) {
  if (call->fetch) {
    start_fetch(engine, call);
  } else if (call->state == KIN_CALL_RESTING) {
    set_state(engine, call, KIN_CALL_QUEUED);
    kin_timers_set(&engine->call_timers, &call->timer, call->deadline);
  } else {
    kin_loop_finish_with(engine, call, KIN_CODE_TIMEOUT,
                         "the call's time was up before an answer came");
  }
}

static void fail_parked(kin_engine *engine, const kin_error *error) {
  for (kin_call *call = engine->calls, *next; call; call = next) {
    next = call->next;
    if (call->state == KIN_CALL_QUEUED)
      kin_loop_finish_with(engine, call, error->code, error->message);
  }
}

/* ---- messages ---- */

static void cancel_call(kin_engine *engine, uint64_t owner) {
  for (kin_call *call = engine->calls; call; call = call->next) {
    if (call->message.owner == owner && call->machine == 0) {
      kin_loop_finish_with(engine, call, KIN_CODE_CANCELLED, "nobody waits for it any more");
      return;
    }
  }
}

static void take_credentials(kin_engine *engine, kin_credentials_message *keys) {
  kin_error error;
  if (kin_credentials_put(&engine->credentials, keys, credentials_wall(engine), &error))
    fail_parked(engine, &error);
}

void kin_loop_take_message(kin_engine *engine, kin_message *message) {
  uint64_t owner = message->owner;
  kin_machine *machine;
  switch (message->kind) {
  case KIN_MESSAGE_CALL:
    kin_engine_send(engine, (kin_call *)message);
    return;
  case KIN_MESSAGE_CREDENTIALS:
    take_credentials(engine, (kin_credentials_message *)message);
    return;
  case KIN_MESSAGE_MACHINE:
    plug_in(engine, (kin_machine *)message);
    return;
  case KIN_MESSAGE_CANCEL:
    kin_message_free(message);
    cancel_call(engine, owner);
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
  while ((timer = kin_timers_pop(&engine->call_timers, now)))
    call_due(engine, KIN_OWNER(timer, kin_call, timer));
  while ((timer = kin_timers_pop(&engine->machine_timers, now)))
    step_machine(engine, KIN_OWNER(timer, kin_machine, timer), now);
}

static bool complete_finished(kin_engine *engine) {
  kin_exchange *exchange;
  bool any = false;
  while ((exchange = engine->transport->finished(engine->transport))) {
    complete(engine, KIN_OWNER(exchange, kin_call, exchange));
    any = true;
  }
  return any;
}

bool kin_engine_watch(kin_engine *engine, int fd, kin_machine *machine) {
  if (engine->watch_count == KIN_WATCHES_MAX)
    return false;
  engine->watchers[engine->watch_count] = machine;
  engine->watches[engine->watch_count++] = (kin_watch){.fd = fd};
  return true;
}

void kin_engine_unwatch(kin_engine *engine, int fd) {
  for (size_t i = 1; i < engine->watch_count; i++) {
    if (engine->watches[i].fd != fd)
      continue;
    engine->watch_count--;
    engine->watches[i] = engine->watches[engine->watch_count];
    engine->watchers[i] = engine->watchers[engine->watch_count];
    return;
  }
}

void kin_loop_wait(kin_engine *engine, kin_time most) {
  engine->transport->wait(engine->transport, engine->watches, engine->watch_count, most);
  if (engine->watches[0].readable)
    kin_wake_clear(&engine->inbox.wake);
  for (size_t i = 1; i < engine->watch_count; i++)
    if (engine->watches[i].readable)
      kin_timers_set(&engine->machine_timers, &engine->watchers[i]->timer, 0);
}

kin_time kin_engine_step(kin_engine *engine) {
  kin_message_list list;
  kin_message *message;
  kin_message_list_init(&list);
  kin_mailbox_take_all(&engine->inbox, &list);
  while ((message = kin_message_list_take(&list)))
    kin_loop_take_message(engine, message);
  run_timers(engine, monotonic(engine));
  bool more = start_queued(engine);
  /* behind the start of calls, so that their first bytes leave in this step */
  if (complete_finished(engine)) {
    run_timers(engine, monotonic(engine));
    more = start_queued(engine);
  }
  if (more)
    return 0;
  kin_time call = kin_timers_next(&engine->call_timers);
  kin_time machine = kin_timers_next(&engine->machine_timers);
  return call < machine ? call : machine;
}

/* ---- what machines ask ---- */

kin_clock *kin_engine_clock(kin_engine *engine) {
  return &engine->clock;
}

kin_time kin_engine_wall(kin_engine *engine) {
  return engine->clock.wall(&engine->clock) + engine->retry.skew;
}

struct kin_retry *kin_engine_retry(kin_engine *engine) {
  return &engine->retry;
}

void kin_engine_tell(kin_engine *engine, kin_message *message) {
  kin_mailbox_post(&engine->outbox, message);
}
