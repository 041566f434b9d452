#include "base/budget.h"

void kin_budget_init(kin_budget *budget, size_t max_count, size_t max_bytes) {
  *budget = (kin_budget){.max_count = max_count, .max_bytes = max_bytes};
  pthread_mutex_init(&budget->lock, NULL);
}

void kin_budget_destroy(kin_budget *budget) {
  pthread_mutex_destroy(&budget->lock);
}

void kin_budget_limit(kin_budget *budget, size_t max_bytes) {
  pthread_mutex_lock(&budget->lock);
  budget->max_bytes = max_bytes;
  pthread_mutex_unlock(&budget->lock);
}

size_t kin_budget_bytes(kin_budget *budget) {
  pthread_mutex_lock(&budget->lock);
  size_t bytes = budget->bytes;
  pthread_mutex_unlock(&budget->lock);
  return bytes;
}

static void refuse(kin_budget *budget, size_t low) {
  if (!budget->refused || budget->low < low)
    budget->low = low;
  budget->refused = true;
}

bool kin_budget_take(kin_budget *budget, size_t bytes) {
  pthread_mutex_lock(&budget->lock);
  bool fits = budget->count == 0 ||
              (budget->count < budget->max_count && budget->bytes < budget->max_bytes &&
               bytes <= budget->max_bytes - budget->bytes);
  if (fits) {
    budget->count++;
    budget->bytes += bytes;
  } else {
    refuse(budget, budget->max_bytes / 2);
  }
  pthread_mutex_unlock(&budget->lock);
  return fits;
}

bool kin_budget_grow(kin_budget *budget, size_t from, size_t to, bool *exceed) {
  pthread_mutex_lock(&budget->lock);
  size_t others = budget->bytes - from;
  bool alone = others <= budget->max_bytes;
  bool within = alone && to <= budget->max_bytes - others;
  bool fits = within || (alone && *exceed);
  if (fits)
    budget->bytes = others + to;
  else
    refuse(budget, from > budget->max_bytes ? from : budget->max_bytes);
  *exceed = fits && !within;
  pthread_mutex_unlock(&budget->lock);
  return fits;
}

void kin_budget_resize(kin_budget *budget, size_t from, size_t to) {
  pthread_mutex_lock(&budget->lock);
  budget->bytes = budget->bytes - from + to;
  pthread_mutex_unlock(&budget->lock);
}

bool kin_budget_give(kin_budget *budget, size_t bytes) {
  return kin_budget_give_many(budget, 1, bytes);
}

bool kin_budget_give_many(kin_budget *budget, size_t count, size_t bytes) {
  pthread_mutex_lock(&budget->lock);
  budget->count -= count;
  budget->bytes -= bytes;
  bool low =
      budget->refused && budget->bytes <= budget->low && budget->count <= budget->max_count / 2;
  if (low)
    budget->refused = false;
  pthread_mutex_unlock(&budget->lock);
  return low;
}
