#include "consumer/window.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "consumer/source.h"

enum { TROUBLES_MAX = 64 };

struct kin_window {
  kin_budget budget;
  kin_window_pool *pool; /* counted; NULL: none */
  size_t borrowed;       /* of the pool, which moves it */
  kin_engine *engine;
  atomic_int references;
  atomic_int troubles;
  /* Part of the window, so that posting it needs no memory. While posted it holds a reference, and
   * is not posted again. */
  kin_message resume;
  atomic_bool resuming;
};

static void free_resume(kin_message *message) {
  kin_window *window = KIN_OWNER(message, kin_window, resume);
  atomic_store(&window->resuming, false);
  kin_window_release(window);
}

kin_window *kin_window_create(kin_engine *engine, uint64_t reader, size_t max_bytes,
                              kin_window_pool *pool) {
  kin_window *window = malloc(sizeof *window);
  if (!window)
    return NULL;
  kin_budget_init(&window->budget, SIZE_MAX, max_bytes);
  window->engine = engine;
  window->borrowed = 0;
  window->pool = pool ? kin_window_pool_hold(pool) : NULL;
  if (pool)
    kin_window_pool_join(pool);
  window->resume = (kin_message){.kind = KIN_MESSAGE_RESUME, .owner = reader, .free = free_resume};
  atomic_init(&window->resuming, false);
  atomic_init(&window->references, 1);
  atomic_init(&window->troubles, 0);
  return window;
}

kin_window *kin_window_hold(kin_window *window) {
  atomic_fetch_add(&window->references, 1);
  return window;
}

void kin_window_release(kin_window *window) {
  if (!window || atomic_fetch_sub(&window->references, 1) != 1)
    return;
  if (window->pool)
    kin_window_pool_leave(window->pool, &window->borrowed);
  kin_window_pool_release(window->pool);
  kin_budget_destroy(&window->budget);
  free(window);
}

static void settle(kin_window *window) {
  if (window->pool)
    kin_window_pool_settle(window->pool, &window->budget, &window->borrowed);
}

/* Returns the bytes that are free, of a window with a pool. */
static size_t limit(kin_window *window) {
  return window->pool ? kin_window_pool_limit(window->pool, &window->budget, &window->borrowed) : 0;
}

size_t kin_window_fit(kin_window *window) {
  size_t left = limit(window);
  return window->pool && left < KIN_PAGE_BYTES_LEAST ? KIN_PAGE_BYTES_LEAST : left;
}

bool kin_window_take(kin_window *window, size_t bytes) {
  limit(window);
  bool fits = kin_budget_take(&window->budget, bytes);
  settle(window);
  return fits;
}

bool kin_window_grow(kin_window *window, size_t from, size_t to, bool *exceed) {
  limit(window);
  bool fits = kin_budget_grow(&window->budget, from, to, exceed);
  settle(window);
  return fits;
}

void kin_window_resize(kin_window *window, size_t from, size_t to) {
  kin_budget_resize(&window->budget, from, to);
  settle(window);
}

void kin_window_give(kin_window *window, size_t bytes) {
  bool low = kin_budget_give(&window->budget, bytes);
  settle(window);
  if (low && !atomic_exchange(&window->resuming, true))
    kin_engine_post(window->engine, &kin_window_hold(window)->resume);
}

bool kin_window_take_trouble(kin_window *window) {
  if (atomic_fetch_add(&window->troubles, 1) < TROUBLES_MAX)
    return true;
  atomic_fetch_sub(&window->troubles, 1);
  return false;
}

void kin_window_give_trouble(kin_window *window) {
  atomic_fetch_sub(&window->troubles, 1);
}
