#include "engine/fork.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

/* A step takes milliseconds; one that takes longer does not keep the process from forking. */
enum { PAUSES_MAX = 20000, PAUSE_NANOSECONDS = 50000 };

static pthread_mutex_t forking = PTHREAD_MUTEX_INITIALIZER; /* held while the process forks */
static atomic_bool is_forking;
static atomic_int steps;               /* threads inside a step */
static _Thread_local bool is_stepping; /* this thread: a fork of its own does not wait for it */
static unsigned generation;

static void pause_briefly(void) {
  nanosleep(&(struct timespec){0, PAUSE_NANOSECONDS}, NULL);
}

/* Engines' threads that fork do not wait for each other; their children only run a program. */
static void prepare(void) {
  if (is_stepping)
    return;
  pthread_mutex_lock(&forking);
  atomic_store(&is_forking, true);
  for (int i = 0; i < PAUSES_MAX && atomic_load(&steps) > 0; i++)
    pause_briefly();
}

static void go_on(void) {
  if (is_stepping)
    return;
  atomic_store(&is_forking, false);
  pthread_mutex_unlock(&forking);
}

static void start_child(void) {
  generation++;
  atomic_store(&steps, is_stepping ? 1 : 0);
  atomic_store(&is_forking, false);
  pthread_mutex_init(&forking, NULL);
}

static void register_handlers(void) {
  pthread_atfork(prepare, go_on, start_child);
}

void kin_fork_watch(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, register_handlers);
}

void kin_fork_begin_step(void) {
  for (;;) {
    atomic_fetch_add(&steps, 1);
    if (!atomic_load(&is_forking))
      break;
    atomic_fetch_sub(&steps, 1);
    pthread_mutex_lock(&forking); /* until the process has forked */
    pthread_mutex_unlock(&forking);
  }
  is_stepping = true;
}

void kin_fork_end_step(void) {
  is_stepping = false;
  atomic_fetch_sub(&steps, 1);
}

unsigned kin_fork_generation(void) {
  return generation;
}
