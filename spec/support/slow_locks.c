/* slow_locks: for LD_PRELOAD. Threads other than the first hold read-write locks, which are
 * OpenSSL's, half a millisecond longer, so that a fork finds one held. */
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

__attribute__((visibility("default"))) int pthread_rwlock_unlock(pthread_rwlock_t *lock) {
  static int (*unlock)(pthread_rwlock_t * lock);
  if (!unlock)
    *(void **)&unlock = dlsym(RTLD_NEXT, "pthread_rwlock_unlock");
  if (gettid() != getpid())
    usleep(500);
  return unlock(lock);
}
