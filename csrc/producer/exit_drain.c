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
  kin_exit_drain *next;
  unsigned round; /* the last round of flush_all that included it */
  unsigned users; /* threads that use it outside the lock */
  bool has_run;
  bool removed;           /* the last user frees it */
  kin_time stalled_since; /* open records and no completion since then; 0: not stalled */
  size_t completed;       /* the number of completed records then */
  char stream[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static kin_exit_drain *all;

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

static void run(kin_exit_drain *self) {
  char reason[sizeof(kin_error)]; /* of code, operation and message */
  kin_queue_close(self->queue);
  if (!begin_running(self))
    return;
  kin_time until = find_deadline(self);
  bool waits = until > kin_monotonic();
  if (kin_queue_count(self->queue).open == 0 || kin_queue_flush(self->queue) == 0)
    until = 0; /* nothing to wait for */
  size_t left = kin_queue_wait(self->queue, to_timespec(until));
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

/* ---- all producers of the process ---- */

/* Returns the next drain that has not run and was not in this round, held; NULL: there is none.
 * Round 0: any drain that has not run. */
static kin_exit_drain *hold_next(unsigned round) {
  pthread_mutex_lock(&lock);
  kin_exit_drain *self = all;
  while (self &&
         (self->has_run || (round > 0 && self->round == round) || kin_engine_forked(self->engine)))
    self = self->next;
  if (self) {
    self->users++;
    self->round = round;
  }
  pthread_mutex_unlock(&lock);
  return self;
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

/* Flushes all producers, because they share the time. */
static void flush_all(void) {
  static atomic_uint rounds;
  unsigned round = atomic_fetch_add(&rounds, 1) + 1;
  kin_exit_drain *self;
  while ((self = hold_next(round))) {
    kin_queue_flush(self->queue);
    release(self);
  }
}

void kin_exit_drain_run(kin_exit_drain *self) {
  if (kin_queue_count(self->queue).open > 0)
    flush_all();
  run(self);
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

static void at_exit(void) {
  kin_exit_drain *self;
  begin_exit();
  flush_all();
  while ((self = hold_next(0))) {
    run(self);
    release(self);
  }
}

/* In a forked child: the drains are the parent's, and another thread may have held the lock. */
static void reset_in_child(void) {
  all = NULL;
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
  self->next = all;
  all = self;
  pthread_mutex_unlock(&lock);
  return self;
}

void kin_exit_drain_free(kin_exit_drain *self) {
  pthread_mutex_lock(&lock);
  kin_exit_drain **link = &all;
  while (*link && *link != self)
    link = &(*link)->next;
  if (*link)
    *link = self->next;
  self->removed = true;
  bool used = self->users > 0;
  pthread_mutex_unlock(&lock);
  if (!used)
    discard(self);
}
