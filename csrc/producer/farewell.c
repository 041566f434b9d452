#include "producer/farewell.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

struct kin_farewell {
  kin_door *door; /* counted */
  kin_engine *engine;
  kin_time most;
  /* under `life` */
  kin_farewell *next;
  unsigned hurried; /* the last round of hurry_all that it was part of */
  unsigned users;   /* rounds, and the exit */
  bool said;
  bool gone; /* freed by its last user */
  char stream[];
};

static pthread_mutex_t life = PTHREAD_MUTEX_INITIALIZER;
static kin_farewell *all;

/* All producers that end together share one beginning, from which each has its own time: those of a
 * process that ends, and those that a closed Lua state collects one after the other. The latter are
 * known by what they do: one has used up its time, and within a second another one follows. */
static const kin_time together = KIN_SECOND;
static kin_time began, gave_up; /* monotonic; under `life` */
static bool leaving;            /* the process ends since `began`; under `life` */

/* From when on the time of a producer counts that ends now. */
static kin_time begin(bool leaves) {
  kin_time now = kin_monotonic();
  pthread_mutex_lock(&life);
  if (!leaving && now > gave_up + together)
    began = now;
  leaving = leaving || leaves;
  kin_time since = began;
  pthread_mutex_unlock(&life);
  return since;
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
static void describe(kin_farewell *self, char *text, size_t room) {
  kin_failure failure;
  bool current = false;
  bool known = kin_causes_newest(kin_door_causes(self->door), &failure, &current);
  if (known && (current || kin_door_count(self->door).open == 0))
    snprintf(text, room, "%s: %s: %.300s", failure.operation, failure.code, failure.message);
  else
    snprintf(text, room, "no answer came in time");
}

/* True for the first caller. */
static bool begin_saying(kin_farewell *self) {
  pthread_mutex_lock(&life);
  bool first = !self->said;
  self->said = true;
  pthread_mutex_unlock(&life);
  return first;
}

static void say(kin_farewell *self) {
  char reason[512];
  kin_door_close(self->door);
  if (!begin_saying(self))
    return;
  kin_time until = kin_time_after(begin(false), self->most);
  if (kin_door_count(self->door).open == 0 || kin_door_flush(self->door) == 0)
    until = 0; /* there is nothing to wait for */
  size_t left = kin_door_wait(self->door, timespec_of(until));
  if (left == 0)
    return;
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
static kin_farewell *use_next(unsigned round) {
  pthread_mutex_lock(&life);
  kin_farewell *self = all;
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

static void discard(kin_farewell *self) {
  kin_door_release(self->door);
  free(self);
}

static void end_use(kin_farewell *self) {
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
  kin_farewell *self;
  while ((self = use_next(round))) {
    kin_door_flush(self->door);
    end_use(self);
  }
}

void kin_farewell_say(kin_farewell *self) {
  if (kin_door_count(self->door).open > 0)
    hurry_all();
  say(self);
}

void kin_farewell_hurry(kin_farewell *self, kin_time most) {
  begin(true);
  self->most = most;
  kin_door_flush(self->door);
}

/* ---- the exit ---- */

static void at_exit(void) {
  kin_farewell *self;
  begin(true);
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

kin_farewell *kin_farewell_create(kin_door *door, kin_engine *engine, const char *stream,
                                  kin_time most) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  size_t len = strlen(stream) + 1;
  pthread_once(&once, register_handlers);
  kin_farewell *self = malloc(sizeof *self + len);
  if (!self)
    return NULL;
  *self = (kin_farewell){.door = kin_door_hold(door), .engine = engine, .most = most};
  memcpy(self->stream, stream, len);
  pthread_mutex_lock(&life);
  self->next = all;
  all = self;
  pthread_mutex_unlock(&life);
  return self;
}

void kin_farewell_free(kin_farewell *self) {
  pthread_mutex_lock(&life);
  kin_farewell **link = &all;
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
