#include <stdlib.h>

#include "producer/internal.h"

struct kin_misplaced {
  kin_misplaced *next;
  kin_time deadline;
  kin_record_list records;
  kin_stored stored;
};

/* Stop waiting for the new shard map after this long; KCL readers drop a misplaced aggregate
 * anyway.
 */
static const kin_time wait_max = 60 * KIN_SECOND;

static bool all_in_range(const kin_record_list *records, const kin_shard_queue *shard) {
  for (const kin_user_record *record = records->first; record; record = record->next)
    if (kin_hash_compare(record->hash, shard->first) < 0 ||
        kin_hash_compare(record->hash, shard->last) > 0)
      return false;
  return true;
}

/* Readers that do not check the range of a shard find these records twice. */
static void send_again(kin_producer *self, kin_record_list *records) {
  kin_count(&self->metrics->misplaced_records, records->count);
  kin_completion_retry(self, records, true);
}

/* Keeps the entry's records until the map knows their shard. False when memory is out. */
static bool keep(kin_producer *self, kin_batch_entry *entry, const kin_stored *where,
                 kin_time now) {
  kin_time ttl = self->options.ttl;
  kin_misplaced *misplaced = malloc(sizeof *misplaced);
  if (!misplaced)
    return false;
  *misplaced = (kin_misplaced){
      .deadline = now + (ttl < wait_max ? ttl : wait_max),
      .records = entry->records,
      .stored = *where,
  };
  entry->records = (kin_record_list){0};
  *(self->misplaced ? &self->last_misplaced->next : &self->misplaced) = misplaced;
  self->last_misplaced = misplaced;
  return true;
}

void kin_misplaced_take(kin_producer *self, kin_batch_entry *entry, const kin_shard_queue *other,
                        const kin_stored *where, kin_time now) {
  if (other && all_in_range(&entry->records, other))
    kin_completion_store(self, &entry->records, entry->receipts ? where : NULL);
  else if (other || !keep(self, entry, where, now))
    send_again(self, &entry->records);
}

void kin_misplaced_resolve(kin_producer *self) {
  kin_misplaced *misplaced;
  while ((misplaced = self->misplaced)) {
    self->misplaced = misplaced->next;
    const kin_shard_queue *shard =
        kin_shard_map_named(&self->map, kin_slice_of(misplaced->stored.shard_id));
    if (shard && all_in_range(&misplaced->records, shard))
      kin_completion_store(self, &misplaced->records, &misplaced->stored);
    else
      send_again(self, &misplaced->records);
    free(misplaced);
  }
}

kin_time kin_misplaced_next(const kin_producer *self) {
  return self->misplaced ? self->misplaced->deadline : KIN_NEVER;
}

void kin_misplaced_expire(kin_producer *self, kin_time now) {
  kin_misplaced *misplaced;
  while ((misplaced = self->misplaced) && misplaced->deadline <= now) {
    kin_record_list *records = &misplaced->records, stored = {0};
    self->misplaced = misplaced->next;
    while (records->first && kin_time_after(records->first->accepted, self->options.ttl) <= now)
      kin_record_list_add(&stored, kin_record_list_take(records));
    kin_completion_store(self, &stored, &misplaced->stored);
    send_again(self, records);
    free(misplaced);
  }
}

void kin_misplaced_free(kin_producer *self, kin_record_list *records) {
  kin_misplaced *misplaced;
  while ((misplaced = self->misplaced)) {
    self->misplaced = misplaced->next;
    for (kin_user_record *record = misplaced->records.first; record; record = record->next)
      record->maybe_stored = true;
    kin_record_list_merge(records, &misplaced->records);
    free(misplaced);
  }
}
