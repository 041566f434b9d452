/* window_pool: what the windows of several readers share, as those of a worker. One half of its
 * bytes is divided: each window may always hold its even part. The other half is lent: a window may
 * borrow two thirds of what the others have not borrowed. So one busy reader gets most of the
 * space that quiet ones do not need, and one whose pages are not taken leaves some for the others:
 * the second may borrow two thirds of the rest, and so on; when all are busy, they hold the same.
 *
 * A window that is full is resumed by its own pages when they are freed (window.c), not by those of
 * others: it has some, as an empty one always gets a page, and needs no more before they are taken.
 *
 * Counted: the last reference out frees it. Any thread; the pool locks itself, and a budget inside
 * of that lock. */
#ifndef KIN_CONSUMER_WINDOW_POOL_H
#define KIN_CONSUMER_WINDOW_POOL_H

#include "base/budget.h"

typedef struct kin_window_pool kin_window_pool;

/* NULL: out of memory. */
kin_window_pool *kin_window_pool_create(size_t max_bytes);
kin_window_pool *kin_window_pool_hold(kin_window_pool *pool);
void kin_window_pool_release(kin_window_pool *pool);

/* A window that has joined gives its budget, and the bytes that it has borrowed: 0 at first, and
 * moved by the pool only. */
void kin_window_pool_join(kin_window_pool *pool);
void kin_window_pool_leave(kin_window_pool *pool, const size_t *borrowed);

/* Before it takes bytes: sets the maximum of the budget; returns how many are free below it. */
size_t kin_window_pool_limit(kin_window_pool *pool, kin_budget *budget, const size_t *borrowed);

/* After the budget has changed. */
void kin_window_pool_settle(kin_window_pool *pool, kin_budget *budget, size_t *borrowed);

#endif
