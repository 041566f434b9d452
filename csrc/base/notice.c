#include "base/notice.h"

#include <pthread.h>

/* Keys of the same hash share one limit. */
typedef struct notice {
  uint64_t key;
  kin_time next; /* 0: the slot is free */
} notice;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static notice notices[KIN_NOTICES];

/* The key's own slot, else the one that is due first. */
static notice *find(uint64_t key) {
  notice *oldest = notices;
  for (notice *at = notices; at < notices + KIN_NOTICES; at++) {
    if (at->next > 0 && at->key == key)
      return at;
    if (at->next < oldest->next)
      oldest = at;
  }
  *oldest = (notice){.key = key};
  return oldest;
}

/* Runs in a forked child: another thread of the parent may have held the lock. */
static void unlock_in_child(void) {
  pthread_mutex_init(&lock, NULL);
}

static void register_handler(void) {
  pthread_atfork(NULL, NULL, unlock_in_child);
}

bool kin_notice_due(kin_slice key, kin_time now) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, register_handler);
  pthread_mutex_lock(&lock);
  notice *own = find(kin_slice_hash(key));
  bool due = own->next <= now;
  if (due)
    own->next = now + KIN_NOTICE_EVERY;
  pthread_mutex_unlock(&lock);
  return due;
}
