#include "producer/exit_drain.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

struct kin_exit_drain {
  kin_queue *queue; /* counted */
  kin_engine *engine;
  kin_time most, made; /* made: monotonic */
  /* under `life` */
  kin_exit_drain *next;
  unsigned hurried; /* the last round of hurry_all that it was part of */
  unsigned users;   /* rounds, and the exit */
  bool said;
  bool gone;           /* freed by its last user */
  kin_time idle_since; /* since when, after a hurry, records are open and none is done; 0: not so */
  size_t done;         /* how many were, then */
  char stream[];
};

static pthread_mutex_t life = PTHREAD_MUTEX_INITIALIZER;
static kin_exit_drain *all;

/* All producers that end max_batch share one beginning, from which each has its own time: those of
 * a process that ends, and those that a closed Lua state collects one after the other. The latter
 * are known by what they do: one has used up its time, and within a second another one follows,
 * which was made before that time began. */
static const kin_time max_batch = KIN_SECOND;
static kin_time began, gave_up; /* monotonic; under `life` */
static bool leaving;            /* the process ends since `began`; under `life` */

/* Under `life`: from when on the time of a producer counts that was made at `made` and ends now. */
static kin_time begin(kin_time made) {
  kin_time now = kin_monotonic();
  if (!leaving && (now > gave_up + max_batch || made > began))
    began = now;
  return began;
}

/* The process ends. */
static void begin_exit(void) {
  pthread_mutex_lock(&life);
  begin(0);
  leaving = true;
  pthread_mutex_unlock(&life);
}

static size_t count_done(kin_queue_counts counts) {
  return counts.accepted - counts.open;
}

/* Until when its records are waited for. The time of those that were hurried counts from then. */
static kin_time find_end(kin_exit_drain *self) {
  size_t done = count_done(kin_queue_count(self->queue));
  pthread_mutex_lock(&life);
  bool idle = self->idle_since > 0 && self->done == done;
  kin_time since = idle ? self->idle_since : begin(self->made);
  pthread_mutex_unlock(&life);
  return kin_time_after(since, self->most);
}

static void give_up(void) {
  kin_time now = kin_monotonic();
  pthread_mutex_lock(&life);
  gave_up = now;
  pthread_mutex_unlock(&life);
}

static struct timespec timespec_of(kin_time time) {
  return (struct timespec){time / KIN_SECOND, (long)(time % KIN_SECOND) * 1000};
}

/* The service ends some messages with a full stop; our line goes on. */
static void cut_stop(char *text) {
  size_t len = strlen(text);
  while (len > 0 && (text[len - 1] == '.' || text[len - 1] == ' '))
    text[--len] = '\0';
}

/* Why records are left. What has failed long ago does not tell why the service is silent now. */
static void describe(kin_exit_drain *self, char *text, size_t room) {
  kin_error error;
  bool current = false;
  bool known = kin_causes_newest(kin_queue_causes(self->queue), &error, &current);
  if (known && (current || kin_queue_count(self->queue).open == 0))
    snprintf(text, room, "%s: %s: %.300s", error.operation, error.code, error.message);
  else
    snprintf(text, room, "no answer came in time");
}

/* True for the first caller. */
static bool begin_saying(kin_exit_drain *self) {
  pthread_mutex_lock(&life);
  bool first = !self->said;
  self->said = true;
  pthread_mutex_unlock(&life);
  return first;
}

static void say(kin_exit_drain *self) {
  char reason[512];
  kin_queue_close(self->queue);
  if (!begin_saying(self))
    return;
  kin_time until = find_end(self);
  bool waits = until > kin_monotonic();
  if (kin_queue_count(self->queue).open == 0 || kin_queue_flush(self->queue) == 0)
    until = 0; /* there is nothing to wait for */
  size_t left = kin_queue_wait(self->queue, timespec_of(until));
  if (left == 0)
    return;
  if (waits) /* or one that did not wait would let the next one not wait, without end */
    give_up();
  describe(self, reason, sizeof reason);
  cut_stop(reason);
  fprintf(stderr,
          "kinesis: %zu record%s for %s %s not delivered: %s; close producers, and look at "
          "receipts\n",
          left, left == 1 ? "" : "s", self->stream, left == 1 ? "was" : "were", reason);
}

/* ---- all of them ---- */

/* The next one that has said nothing yet, and was not part of this round, in use; NULL: there is
 * none. Round 0: whatever round it was part of. */
static kin_exit_drain *use_next(unsigned round) {
  pthread_mutex_lock(&life);
  kin_exit_drain *self = all;
  while (self &&
         (self->said || (round > 0 && self->hurried == round) || kin_engine_forked(self->engine)))
    self = self->next;
  if (self) {
    self->users++;
    self->hurried = round;
  }
  pthread_mutex_unlock(&life);
  return self;
}

static void discard(kin_exit_drain *self) {
  kin_queue_release(self->queue);
  free(self);
}

static void end_use(kin_exit_drain *self) {
  pthread_mutex_lock(&life);
  bool gone = --self->users == 0 && self->gone;
  pthread_mutex_unlock(&life);
  if (gone)
    discard(self);
}

/* What is not delivered yet leaves now, of all producers: they share the time. */
static void hurry_all(void) {
  static atomic_uint rounds;
  unsigned round = atomic_fetch_add(&rounds, 1) + 1;
  kin_exit_drain *self;
  while ((self = use_next(round))) {
    kin_queue_flush(self->queue);
    end_use(self);
  }
}

void kin_exit_drain_run(kin_exit_drain *self) {
  if (kin_queue_count(self->queue).open > 0)
    hurry_all();
  say(self);
}

void kin_exit_drain_shorten(kin_exit_drain *self, kin_time most) {
  kin_queue_counts counts = kin_queue_count(self->queue);
  size_t done = count_done(counts);
  pthread_mutex_lock(&life);
  if (counts.open == 0)
    self->idle_since = 0;
  else if (self->idle_since == 0 || self->done != done)
    self->idle_since = kin_monotonic();
  self->done = done;
  pthread_mutex_unlock(&life);
  self->most = most;
  kin_queue_flush(self->queue);
}

/* ---- the exit ---- */

static void at_exit(void) {
  kin_exit_drain *self;
  begin_exit();
  hurry_all();
  while ((self = use_next(0))) {
    say(self);
    end_use(self);
  }
}

/* In the child: all of them are the parent's, whose other thread may have held the lock. */
static void forget_all(void) {
  all = NULL;
  gave_up = 0;
  leaving = false;
  pthread_mutex_init(&life, NULL);
}

/* The engine has registered its own before: this one runs first, while its thread still lives. */
static void register_handlers(void) {
  atexit(at_exit);
  pthread_atfork(NULL, NULL, forget_all);
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
      .queue = kin_queue_hold(queue), .engine = engine, .most = most, .made = kin_monotonic()};
  memcpy(self->stream, stream, len);
  pthread_mutex_lock(&life);
  self->next = all;
  all = self;
  pthread_mutex_unlock(&life);
  return self;
}

void kin_exit_drain_free(kin_exit_drain *self) {
  pthread_mutex_lock(&life);
  kin_exit_drain **link = &all;
  while (*link && *link != self)
    link = &(*link)->next;
  if (*link)
    *link = self->next;
  self->gone = true;
  bool used = self->users > 0;
  pthread_mutex_unlock(&life);
  if (!used)
    discard(self);
}
