#include "producer/farewell.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef enum { EXPECTED, HURRIED, SAID } kin_farewell_stage;

struct kin_farewell {
  kin_door *door; /* counted */
  kin_engine *engine;
  kin_time most;
  /* under `life` */
  kin_farewell_stage stage;
  kin_farewell *next;
  bool used; /* by the exit */
  bool gone; /* freed by whoever uses it */
  char stream[];
};

static pthread_mutex_t life = PTHREAD_MUTEX_INITIALIZER;
static kin_farewell *all;

/* True: it had not come so far. */
static bool advance(kin_farewell *self, kin_farewell_stage stage) {
  pthread_mutex_lock(&life);
  bool fresh = self->stage < stage;
  if (fresh)
    self->stage = stage;
  pthread_mutex_unlock(&life);
  return fresh;
}

static void say(kin_farewell *self, struct timespec until) {
  kin_door_close(self->door);
  if (!advance(self, SAID))
    return;
  until.tv_sec += self->most / KIN_SECOND;
  until.tv_nsec += (long)(self->most % KIN_SECOND) * 1000;
  until.tv_sec += until.tv_nsec / 1000000000;
  until.tv_nsec %= 1000000000;
  if (kin_door_count(self->door).open == 0 || kin_door_flush(self->door) == 0)
    until = (struct timespec){0}; /* there is nothing to wait for */
  size_t left = kin_door_wait(self->door, until);
  if (left > 0)
    fprintf(stderr,
            "kinesis: %zu record%s for %s %s not delivered, and nobody was told why: close "
            "producers, and look at receipts\n",
            left, left == 1 ? "" : "s", self->stream, left == 1 ? "was" : "were");
}

static struct timespec now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time;
}

void kin_farewell_say(kin_farewell *self) {
  say(self, now());
}

void kin_farewell_hurry(kin_farewell *self, kin_time most) {
  self->most = most;
  kin_door_flush(self->door);
}

/* ---- the exit ---- */

/* The next one that has not come so far, in use; NULL: there is none. */
static kin_farewell *use_next(kin_farewell_stage stage) {
  pthread_mutex_lock(&life);
  kin_farewell *self = all;
  while (self && (self->stage >= stage || kin_engine_forked(self->engine)))
    self = self->next;
  if (self)
    self->used = true;
  pthread_mutex_unlock(&life);
  return self;
}

static void discard(kin_farewell *self) {
  kin_door_release(self->door);
  free(self);
}

static void end_use(kin_farewell *self) {
  pthread_mutex_lock(&life);
  self->used = false;
  bool gone = self->gone;
  pthread_mutex_unlock(&life);
  if (gone)
    discard(self);
}

/* All of them have their time at once. */
static void at_exit(void) {
  struct timespec began = now();
  kin_farewell *self;
  while ((self = use_next(HURRIED))) {
    advance(self, HURRIED);
    kin_door_flush(self->door);
    end_use(self);
  }
  while ((self = use_next(SAID))) {
    say(self, began);
    end_use(self);
  }
}

/* In the child: all of them are the parent's, whose other thread may have held the lock. */
static void forget_all(void) {
  all = NULL;
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
  bool used = self->used;
  pthread_mutex_unlock(&life);
  if (!used)
    discard(self);
}
