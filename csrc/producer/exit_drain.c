#include "producer/exit_drain.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "producer/waiting.h"

struct kin_exit_drain {
  kin_queue *queue; /* counted */
  kin_engine *engine;
  kin_time most;    /* exit_timeout */
  kin_time created; /* monotonic */
  /* under `lock` */
  kin_exit_drain *next, *before;
  unsigned round; /* the last walk over all that included it */
  unsigned users; /* threads that use it outside the lock */
  bool has_run;
  bool removed;           /* the last user frees it */
  kin_time stalled_since; /* open records and no completion since then; 0: not stalled */
  size_t completed;       /* the number of completed records then */
  char stream[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct { kin_exit_drain *first, *last; } all; /* ordered by their rounds */

/* Producers that end together share the time from which each one's exit_timeout counts. They end
 * together when the process ends, and when a closed Lua state collects them one after the other.
 * The module recognises the second case: a producer has used up its exit_timeout, and within a
 * second the next one is collected, which was created before that time began. */
static const kin_time follow_max = KIN_SECOND;
static kin_time end_began, timed_out_at; /* monotonic; under `lock` */
static bool exiting;                     /* the process ends since `end_began`; under `lock` */

/* Returns from when the exit_timeout of a producer counts that ends now. The caller holds `lock`.
 */
static kin_time begin(kin_time created) {
  kin_time now = kin_monotonic();
  if (!exiting && (now > timed_out_at + follow_max || created > end_began))
    end_began = now;
  return end_began;
}

/* Marks the beginning of the process's end. */
static void begin_exit(void) {
  pthread_mutex_lock(&lock);
  begin(0);
  exiting = true;
  pthread_mutex_unlock(&lock);
}

static size_t count_completed(kin_queue_counts counts) {
  return counts.accepted - counts.open;
}

/* Returns until when to wait for its records: a stalled producer has used some of its time. */
static kin_time find_deadline(kin_exit_drain *self) {
  size_t completed = count_completed(kin_queue_count(self->queue));
  pthread_mutex_lock(&lock);
  bool stalled = self->stalled_since > 0 && self->completed == completed;
  kin_time since = stalled ? self->stalled_since : begin(self->created);
  pthread_mutex_unlock(&lock);
  return kin_time_after(since, self->most);
}

static void note_timeout(void) {
  kin_time now = kin_monotonic();
  pthread_mutex_lock(&lock);
  timed_out_at = now;
  pthread_mutex_unlock(&lock);
}

static struct timespec to_timespec(kin_time time) {
  return (struct timespec){time / KIN_SECOND, (long)(time % KIN_SECOND) * 1000};
}

/* ---- all producers of the process ---- */

/* The caller holds `lock`. */
static void unlink_drain(kin_exit_drain *self) {
  *(self->before ? &self->before->next : &all.first) = self->next;
  *(self->next ? &self->next->before : &all.last) = self->before;
}

/* The caller holds `lock`. */
static void link_last(kin_exit_drain *self) {
  self->next = NULL;
  self->before = all.last;
  *(all.last ? &all.last->next : &all.first) = self;
  all.last = self;
}

static unsigned begin_round(void) {
  static atomic_uint rounds;
  return atomic_fetch_add(&rounds, 1) + 1;
}

/* Returns the next drain that has not run and was not in this round, held; NULL: there is none, or
 * a later round has begun, and goes on. Each drain that is looked at goes to the end of the list.
 */
static kin_exit_drain *hold_next(unsigned round) {
  kin_exit_drain *self, *found = NULL;
  pthread_mutex_lock(&lock);
  while (!found && (self = all.first) && self->round < round) {
    unlink_drain(self);
    self->round = round;
    link_last(self);
    if (!self->has_run && !kin_engine_forked(self->engine))
      found = self;
  }
  if (found)
    found->users++;
  pthread_mutex_unlock(&lock);
  return found;
}

static void discard(kin_exit_drain *self) {
  kin_queue_release(self->queue);
  free(self);
}

static void release(kin_exit_drain *self) {
  pthread_mutex_lock(&lock);
  bool last = --self->users == 0 && self->removed;
  pthread_mutex_unlock(&lock);
  if (last)
    discard(self);
}

static void flush_all(void) {
  unsigned round = begin_round();
  kin_exit_drain *self;
  while ((self = hold_next(round))) {
    kin_queue_flush(self->queue);
    release(self);
  }
}

/* ---- one producer ---- */

/* Removes the full stop that the service puts at the end of some messages. */
static void trim_full_stop(char *text) {
  size_t len = strlen(text);
  while (len > 0 && (text[len - 1] == '.' || text[len - 1] == ' '))
    text[--len] = '\0';
}

/* Writes why records are left: why they still wait; or if none is open, the newest error. */
static void describe(kin_exit_drain *self, char *text, size_t room) {
  kin_error error;
  bool current = false;
  bool known = kin_queue_count(self->queue).open > 0
                   ? kin_waiting_reason(self->queue, &error)
                   : kin_causes_newest(kin_queue_causes(self->queue), &error, &current);
  if (known)
    snprintf(text, room, "%s%s%s: %s", error.operation, error.operation[0] ? ": " : "", error.code,
             error.message);
  else
    snprintf(text, room, "no answer came in time");
}

/* True for the first caller only. */
static bool begin_running(kin_exit_drain *self) {
  pthread_mutex_lock(&lock);
  bool first = !self->has_run;
  self->has_run = true;
  pthread_mutex_unlock(&lock);
  return first;
}

/* Waits until no record is open. Producers that are collected one after the other share the time:
 * when half of it is over, the records of all of them are sent. Returns how many are left. */
static size_t wait_for_records(kin_exit_drain *self, kin_time until) {
  kin_time half = kin_monotonic() + (until - kin_monotonic()) / 2;
  size_t left = kin_queue_wait(self->queue, to_timespec(half < until ? half : until));
  if (left == 0 || half >= until)
    return left;
  flush_all();
  return kin_queue_wait(self->queue, to_timespec(until));
}

void kin_exit_drain_run(kin_exit_drain *self) {
  char reason[sizeof(kin_error)]; /* of code, operation and message */
  kin_queue_close(self->queue);
  if (!begin_running(self))
    return;
  kin_time until = find_deadline(self);
  bool waits = until > kin_monotonic();
  if (kin_queue_count(self->queue).open == 0 || kin_queue_flush(self->queue) == 0)
    until = 0; /* nothing to wait for */
  size_t left = wait_for_records(self, until);
  if (left == 0)
    return;
  if (waits) /* a drain that did not wait must not shorten the next one */
    note_timeout();
  describe(self, reason, sizeof reason);
  trim_full_stop(reason);
  fprintf(stderr,
          "kinesis: %zu record%s for %s %s not delivered: %s; close producers, and look at "
          "receipts\n",
          left, left == 1 ? "" : "s", self->stream, left == 1 ? "was" : "were", reason);
}

void kin_exit_drain_shorten(kin_exit_drain *self, kin_time most) {
  kin_queue_counts counts = kin_queue_count(self->queue);
  size_t completed = count_completed(counts);
  pthread_mutex_lock(&lock);
  if (counts.open == 0)
    self->stalled_since = 0;
  else if (self->stalled_since == 0 || self->completed != completed)
    self->stalled_since = kin_monotonic();
  self->completed = completed;
  pthread_mutex_unlock(&lock);
  self->most = most;
  kin_queue_flush(self->queue);
}

/* ---- the exit ---- */

/* Runs the drains that have not run. False: there was none. */
static bool run_all(void) {
  unsigned round = begin_round();
  bool found = false;
  kin_exit_drain *self;
  while ((self = hold_next(round))) {
    kin_exit_drain_run(self);
    release(self);
    found = true;
  }
  return found;
}

static void at_exit(void) {
  begin_exit();
  flush_all(); /* they share the time */
  while (run_all())
    continue; /* a later round may have ended this one */
}

/* In a forked child: the drains are the parent's, and another thread may have held the lock. */
static void reset_in_child(void) {
  all.first = all.last = NULL;
  timed_out_at = 0;
  exiting = false;
  pthread_mutex_init(&lock, NULL);
}

/* The engine registers its handler before, so this one runs first, while the threads live. */
static void register_handlers(void) {
  atexit(at_exit);
  pthread_atfork(NULL, NULL, reset_in_child);
}

/* ---- life ---- */

kin_exit_drain *kin_exit_drain_create(kin_queue *queue, kin_engine *engine, const char *stream,
                                      kin_time most) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  size_t len = strlen(stream) + 1;
  pthread_once(&once, register_handlers);
  kin_exit_drain *self = malloc(sizeof *self + len);
  if (!self)
    return NULL;
  *self = (kin_exit_drain){
      .queue = kin_queue_hold(queue), .engine = engine, .most = most, .created = kin_monotonic()};
  memcpy(self->stream, stream, len);
  pthread_mutex_lock(&lock);
  self->next = all.first;
  *(all.first ? &all.first->before : &all.last) = self;
  all.first = self;
  pthread_mutex_unlock(&lock);
  return self;
}

void kin_exit_drain_free(kin_exit_drain *self) {
  pthread_mutex_lock(&lock);
  unlink_drain(self);
  self->removed = true;
  bool used = self->users > 0;
  pthread_mutex_unlock(&lock);
  if (!used)
    discard(self);
}
