/* budget: a bound on items in a queue, by count and by bytes. "Full" is a normal result.
 *
 * Any thread; the budget locks itself and calls nothing while locked. */
#ifndef KIN_BASE_BUDGET_H
#define KIN_BASE_BUDGET_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct kin_budget {
  pthread_mutex_t lock;
  size_t count, max_count;
  size_t bytes, max_bytes;
  size_t low;   /* the bytes at which a refusal is made good: low water */
  bool refused; /* an item was refused since the last low water */
} kin_budget;

void kin_budget_init(kin_budget *budget, size_t max_count, size_t max_bytes);
void kin_budget_destroy(kin_budget *budget);

/* Changes the maximum. Of a smaller one, what was taken is not given back. */
void kin_budget_limit(kin_budget *budget, size_t max_bytes);
size_t kin_budget_bytes(kin_budget *budget);

/* Takes one item of `bytes`. False when full. An empty budget takes an item of any size. */
bool kin_budget_take(kin_budget *budget, size_t bytes);

/* Enlarges an item from `from` bytes to `to`. False: it does not fit. With *exceed the others must
 * fit alone, and *exceed becomes whether the budget is exceeded. Low water for what did not fit is
 * the maximum, or the item itself: half of it may be held by others that wait, too. */
bool kin_budget_grow(kin_budget *budget, size_t from, size_t to, bool *exceed);

/* Corrects the size of an item that was taken as `from` bytes to `to` bytes. */
void kin_budget_resize(kin_budget *budget, size_t from, size_t to);

/* Gives one item back. True once when the budget falls to low water after a refusal, which is half
 * of it: the caller then notifies the refused side. */
bool kin_budget_give(kin_budget *budget, size_t bytes);
bool kin_budget_give_many(kin_budget *budget, size_t count, size_t bytes);

#endif
