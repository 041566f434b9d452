#include "consumer/window_pool.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "consumer/source.h"

struct kin_window_pool {
  atomic_int references;
  size_t half; /* of its bytes: what is divided, and what is lent */
  pthread_mutex_t lock;
  size_t members, borrowed; /* by all of them; locked */
};

kin_window_pool *kin_window_pool_create(size_t max_bytes) {
  kin_window_pool *pool = malloc(sizeof *pool);
  if (!pool)
    return NULL;
  atomic_init(&pool->references, 1);
  pool->half = max_bytes / 2;
  pool->members = pool->borrowed = 0;
  pthread_mutex_init(&pool->lock, NULL);
  return pool;
}

kin_window_pool *kin_window_pool_hold(kin_window_pool *pool) {
  atomic_fetch_add(&pool->references, 1);
  return pool;
}

void kin_window_pool_release(kin_window_pool *pool) {
  if (!pool || atomic_fetch_sub(&pool->references, 1) != 1)
    return;
  pthread_mutex_destroy(&pool->lock);
  free(pool);
}

void kin_window_pool_join(kin_window_pool *pool) {
  pthread_mutex_lock(&pool->lock);
  pool->members++;
  pthread_mutex_unlock(&pool->lock);
}

void kin_window_pool_leave(kin_window_pool *pool, const size_t *borrowed) {
  pthread_mutex_lock(&pool->lock);
  pool->members--;
  pool->borrowed -= *borrowed;
  pthread_mutex_unlock(&pool->lock);
}

/* What each member may always hold. */
static size_t part(const kin_window_pool *pool) {
  size_t even = pool->half / pool->members;
  return even > KIN_PAGE_BYTES_LEAST ? even : KIN_PAGE_BYTES_LEAST;
}

size_t kin_window_pool_limit(kin_window_pool *pool, kin_budget *budget, const size_t *borrowed) {
  pthread_mutex_lock(&pool->lock);
  size_t others = pool->borrowed - *borrowed;
  size_t left = others < pool->half ? pool->half - others : 0;
  size_t limit = part(pool) + left / 3 * 2, bytes = kin_budget_bytes(budget);
  kin_budget_limit(budget, limit);
  pthread_mutex_unlock(&pool->lock);
  return bytes < limit ? limit - bytes : 0;
}

void kin_window_pool_settle(kin_window_pool *pool, kin_budget *budget, size_t *borrowed) {
  pthread_mutex_lock(&pool->lock);
  size_t bytes = kin_budget_bytes(budget), own = part(pool);
  pool->borrowed -= *borrowed;
  *borrowed = bytes > own ? bytes - own : 0;
  pool->borrowed += *borrowed;
  pthread_mutex_unlock(&pool->lock);
}
