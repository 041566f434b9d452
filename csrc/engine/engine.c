#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "engine/fork.h"
#include "engine/internal.h"

enum { IN_FLIGHT_CALLS = 10000, IN_FLIGHT_BYTES = 64 << 20 };

/* The lock of reference counts and of the list of all engines, which the exit handler walks. */
static pthread_mutex_t life = PTHREAD_MUTEX_INITIALIZER;
static kin_engine *engines;

/* Steps; returns for how long nothing is due. */
static kin_time step(kin_engine *engine) {
  kin_fork_begin_step();
  kin_time due = kin_engine_step(engine);
  kin_fork_end_step();
  kin_time now = kin_engine_now(engine);
  return due > now ? due - now : 0;
}

void kin_engine_end(kin_engine *engine) {
  kin_time now = kin_engine_now(engine);
  for (kin_machine *machine = engine->engine_only.machines, *next; machine; machine = next) {
    next = machine->next;
    if (machine->vtable->end && machine->vtable->end(machine, now))
      kin_timers_set(&engine->engine_only.machine_timers, &machine->timer, 0);
    else
      kin_loop_remove_machine(engine, machine->id);
  }
  for (kin_request *request = engine->engine_only.requests, *next; request; request = next) {
    next = request->next;
    if (request->machine == 0)
      kin_loop_fail(engine, request, KIN_CODE_CLOSED, "the client was closed");
  }
}

/* Until the machines that have something to do at the end have done it. */
static void run_to_end(kin_engine *engine) {
  kin_fork_begin_step();
  kin_engine_end(engine);
  kin_fork_end_step();
  while (engine->engine_only.machines) {
    kin_time pause = step(engine);
    if (engine->engine_only.machines)
      kin_loop_wait(engine, pause);
  }
}

static void *run(void *user) {
  kin_engine *engine = user;
  while (!kin_mailbox_closed(&engine->shared.inbox)) {
    kin_time pause = step(engine);
    if (kin_mailbox_sleep(&engine->shared.inbox))
      kin_loop_wait(engine, pause);
  }
  step(engine); /* messages that came before the end */
  run_to_end(engine);
  return NULL;
}

/* ---- life ---- */

static void stop_all(void) {
  pthread_mutex_lock(&life);
  kin_engine *engine = engines;
  pthread_mutex_unlock(&life);
  for (; engine; engine = engine->listed.next)
    kin_engine_stop(engine);
}

/* Runs in a forked child: a thread of the parent may have held the lock. */
static void unlock_in_child(void) {
  pthread_mutex_init(&life, NULL);
}

static void register_handlers(void) {
  atexit(stop_all);
  pthread_atfork(NULL, NULL, unlock_in_child);
  kin_fork_watch();
}

/* The message of the engine itself: Lua has drained it, and it may be posted again. */
static void release_wanted(kin_message *message) {
  kin_engine *engine = KIN_OWNER(message, kin_engine, shared.credentials_wanted);
  atomic_store(&engine->shared.wanted_posted, false);
}

/* Keeps errno, for the message of a client that could not be created. */
static void free_engine(kin_engine *engine) {
  int problem = errno;
  kin_credentials_destroy(&engine->engine_only.credentials);
  free(engine->engine_only.trace_header);
  kin_buf_free(&engine->lua_only.trace_header);
  if (engine->engine_only.transport)
    engine->engine_only.transport->destroy(engine->engine_only.transport);
  kin_timers_free(&engine->engine_only.request_timers);
  kin_timers_free(&engine->engine_only.machine_timers);
  kin_budget_destroy(&engine->shared.in_flight);
  kin_targets_free(&engine->lua_only.targets);
  free(engine);
  errno = problem;
}

kin_engine *kin_engine_create(const kin_engine_options *options, const kin_clock *clock,
                              kin_transport *transport) {
  kin_engine *engine = transport ? calloc(1, sizeof *engine) : NULL;
  if (!engine) {
    if (transport)
      transport->destroy(transport);
    return NULL;
  }
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, register_handlers);
  engine->fixed.generation = kin_fork_generation();
  engine->lua_only.in_lambda = kin_lambda_is_here();
  kin_buf_init(&engine->lua_only.trace_header, KIN_TRACE_HEADER_MAX);
  engine->listed.references = 1;
  engine->engine_only.clock = *clock;
  engine->engine_only.transport = transport;
  engine->fixed.max_attempts = options->max_attempts;
  engine->fixed.max_connections = options->max_connections;
  engine->fixed.connect_timeout = options->connect_timeout;
  engine->fixed.request_timeout = options->request_timeout;
  engine->fixed.call_timeout = options->call_timeout;
  engine->engine_only.trace =
      (kin_trace){.enabled = options->traced, .waiting = &engine->shared.events_waiting};
  for (int i = 0; i < 3; i++)
    engine->engine_only.invocation_random[i] =
        (unsigned)(engine->engine_only.clock.random(&engine->engine_only.clock) * 4294967296.0);
  engine->fixed.target = kin_targets_get(&engine->lua_only.targets, &options->endpoint,
                                         options->connect_timeout, options->request_timeout);
  kin_retry_init(&engine->engine_only.retry);
  engine->shared.credentials_wanted =
      (kin_message){.kind = KIN_MESSAGE_CREDENTIALS_WANTED, .free = release_wanted};
  kin_budget_init(&engine->shared.in_flight, IN_FLIGHT_CALLS, IN_FLIGHT_BYTES);
  if (!engine->fixed.target || !kin_mailbox_open(&engine->shared.inbox)) {
    free_engine(engine);
    return NULL;
  }
  if (!kin_mailbox_open(&engine->shared.outbox)) {
    int problem = errno;
    kin_mailbox_destroy(&engine->shared.inbox);
    errno = problem;
    free_engine(engine);
    return NULL;
  }
  kin_engine_watch(engine, engine->shared.inbox.wake.readable, NULL);
  pthread_mutex_lock(&life);
  engine->listed.next = engines;
  engines = engine;
  pthread_mutex_unlock(&life);
  return engine;
}

bool kin_engine_start(kin_engine *engine) {
  sigset_t all, before;
  /* the thread inherits the mask, because signals belong to the host's threads */
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  engine->lua_only.has_thread = pthread_create(&engine->lua_only.thread, NULL, run, engine) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return engine->lua_only.has_thread;
}

/* Runs after the thread has ended. Frees what it owned, and closes the descriptors: handles may
 * keep the engine until Lua collects them. */
static void drop_everything(kin_engine *engine) {
  kin_message_list list;
  kin_message_list_init(&list);
  kin_mailbox_take_all(&engine->shared.inbox, &list);
  for (kin_message *message; (message = kin_message_list_take(&list));) {
    if (message->kind == KIN_MESSAGE_MACHINE)
      kin_loop_take_message(engine, message); /* destroyed below, with the others */
    else
      kin_message_free(message);
  }
  while (engine->engine_only.machines)
    kin_loop_remove_machine(engine, engine->engine_only.machines->id);
  while (engine->engine_only.requests)
    kin_loop_fail(engine, engine->engine_only.requests, KIN_CODE_CLOSED, "the client was closed");
  kin_mailbox_close(&engine->shared.outbox);
  engine->engine_only.transport->destroy(engine->engine_only.transport);
  engine->engine_only.transport = NULL;
  kin_wake_close(&engine->shared.inbox.wake);
  kin_wake_close(&engine->shared.outbox.wake);
}

void kin_engine_stop(kin_engine *engine) {
  if (kin_engine_forked(engine) || engine->lua_only.stopped)
    return;
  engine->lua_only.stopped = true;
  kin_mailbox_close(&engine->shared.inbox);
  if (engine->lua_only.has_thread)
    pthread_join(engine->lua_only.thread, NULL);
  engine->lua_only.has_thread = false;
  drop_everything(engine);
}

void kin_engine_hold(kin_engine *engine) {
  pthread_mutex_lock(&life);
  engine->listed.references++;
  pthread_mutex_unlock(&life);
}

/* Does nothing in a forked child: a thread of the parent may hold the locks. */
void kin_engine_release(kin_engine *engine) {
  if (kin_engine_forked(engine))
    return;
  pthread_mutex_lock(&life);
  bool last = --engine->listed.references == 0;
  if (last) {
    kin_engine **link = &engines;
    while (*link != engine)
      link = &(*link)->listed.next;
    *link = engine->listed.next;
  }
  pthread_mutex_unlock(&life);
  if (!last)
    return;
  kin_engine_stop(engine);
  kin_mailbox_destroy(
      &engine->shared.outbox); /* first, because freeing a page posts to the inbox */
  kin_mailbox_destroy(&engine->shared.inbox);
  free_engine(engine);
}

/* ---- accessors ---- */

bool kin_engine_forked(const kin_engine *engine) {
  return engine->fixed.generation != kin_fork_generation();
}

bool kin_engine_stopped(const kin_engine *engine) {
  return engine->lua_only.stopped;
}

uint64_t kin_engine_id(void) {
  static atomic_uint_fast64_t last;
  return atomic_fetch_add(&last, 1) + 1;
}

bool kin_engine_post(kin_engine *engine, kin_message *message) {
  return kin_mailbox_post(&engine->shared.inbox, message);
}

bool kin_engine_post_plain(kin_engine *engine, kin_message_kind kind, uint64_t owner) {
  kin_message *message = kin_message_plain(kind, owner);
  return message && kin_engine_post(engine, message);
}

void kin_engine_note_invocation(kin_engine *engine) {
  if (!engine->lua_only.in_lambda || engine->lua_only.stopped)
    return;
  kin_buf *known = &engine->lua_only.trace_header, now;
  kin_buf_init(&now, KIN_TRACE_HEADER_MAX);
  kin_lambda_trace_header(&now);
  bool is_new = !now.failed &&
                (now.len != known->len || (now.len > 0 && memcmp(now.at, known->at, now.len) != 0));
  kin_trace_header *header = is_new ? kin_trace_header_create(kin_buf_slice(&now)) : NULL;
  if (!header) { /* after a failure the next call tries again */
    kin_buf_free(&now);
    return;
  }
  kin_buf_free(known);
  *known = now;
  kin_engine_post(engine, &header->message);
}

kin_mailbox *kin_engine_outbox(kin_engine *engine) {
  return &engine->shared.outbox;
}

kin_budget *kin_engine_in_flight(kin_engine *engine) {
  return &engine->shared.in_flight;
}

const kin_target *kin_engine_target(kin_engine *engine, const kin_endpoint *endpoint) {
  kin_endpoint complete = *endpoint;
  if (!complete.service)
    complete.service = engine->fixed.target->endpoint.service;
  if (!complete.region)
    complete.region = engine->fixed.target->endpoint.region;
  return kin_targets_get(&engine->lua_only.targets, &complete, engine->fixed.connect_timeout,
                         engine->fixed.request_timeout);
}

kin_counters *kin_engine_counters(kin_engine *engine) {
  return &engine->shared.counters;
}

kin_time kin_engine_call_timeout(const kin_engine *engine) {
  return engine->fixed.call_timeout;
}

kin_time kin_engine_expiry_offset(const kin_engine *engine) {
  return kin_retry_expiry_offset(atomic_load(&engine->shared.skew),
                                 atomic_load(&engine->shared.skew_confirmed_at), kin_monotonic());
}

kin_time kin_engine_service_time(const kin_engine *engine) {
  return kin_wall() + atomic_load(&engine->shared.skew);
}

unsigned kin_engine_max_attempts(const kin_engine *engine) {
  return engine->fixed.max_attempts;
}

int kin_engine_max_connections(const kin_engine *engine) {
  return engine->fixed.max_connections;
}
