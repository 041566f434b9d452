/* budget: how much may be under way at once, by count and by bytes. Every queue has one: calls a
 * client has accepted, pages a reader has fetched ahead. "Full" is a normal answer.
 *
 * Any thread; takes its own lock, calls nothing while holding it. */
#ifndef KIN_BASE_BUDGET_H
#define KIN_BASE_BUDGET_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct kin_budget {
  pthread_mutex_t lock;
  size_t count, max_count;
  size_t bytes, max_bytes;
  bool refused; /* somebody was told Full since the last low water */
} kin_budget;

void kin_budget_init(kin_budget *budget, size_t max_count, size_t max_bytes);
void kin_budget_destroy(kin_budget *budget);

/* One more thing of `bytes`. False when full; but whatever its size, one thing always fits an
 * empty budget. */
bool kin_budget_take(kin_budget *budget, size_t bytes);

/* A thing that was taken as `from` bytes has turned out to be `to` bytes. */
void kin_budget_resize(kin_budget *budget, size_t from, size_t to);

/* Gives one thing back. True when this reached low water (half) after somebody was refused: the
 * caller tells them, once. */
bool kin_budget_give(kin_budget *budget, size_t bytes);
bool kin_budget_give_many(kin_budget *budget, size_t count, size_t bytes);

#endif
