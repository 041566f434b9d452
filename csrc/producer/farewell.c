#include "producer/farewell.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "producer/door.h"

static pthread_mutex_t life = PTHREAD_MUTEX_INITIALIZER;
static kin_farewell *all;

static void say(kin_farewell *self, struct timespec until) {
  kin_door_close(self->door);
  if (self->stage == KIN_FAREWELL_SAID)
    return;
  self->stage = KIN_FAREWELL_SAID;
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

/* ---- the exit ---- */

/* The next one that has not come so far, its door held; NULL: there is none. */
static kin_farewell *next_before(kin_farewell_stage stage) {
  pthread_mutex_lock(&life);
  kin_farewell *self = all;
  while (self && (self->stage >= stage || kin_engine_forked(self->engine) ||
                  !kin_door_hold_living(self->door)))
    self = self->next;
  pthread_mutex_unlock(&life);
  return self;
}

/* All of them have their time at once. */
static void at_exit(void) {
  struct timespec began = now();
  kin_farewell *self;
  while ((self = next_before(KIN_FAREWELL_HURRIED))) {
    self->stage = KIN_FAREWELL_HURRIED;
    kin_door_flush(self->door);
    kin_door_release(self->door);
  }
  while ((self = next_before(KIN_FAREWELL_SAID))) {
    say(self, began);
    kin_door_release(self->door);
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

void kin_farewell_expect(kin_farewell *self) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, register_handlers);
  pthread_mutex_lock(&life);
  self->next = all;
  all = self;
  pthread_mutex_unlock(&life);
}

void kin_farewell_forget(kin_farewell *self) {
  pthread_mutex_lock(&life);
  kin_farewell **link = &all;
  while (*link && *link != self)
    link = &(*link)->next;
  if (*link)
    *link = self->next;
  pthread_mutex_unlock(&life);
}
