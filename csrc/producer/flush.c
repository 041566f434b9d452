#include "producer/internal.h"

/* The user hears of them without an attempt of theirs that could have told. */
static void note_expired(kin_producer *self) {
  kin_error error;
  if (self->expired == 0)
    return;
  kin_error_clear(&error);
  kin_slice_copy(KIN_SLICE("PutRecords"), error.operation, sizeof error.operation);
  kin_error_set(&error, KIN_FATAL, KIN_CODE_EXPIRED, "not stored within %g s (record_ttl)",
                (double)self->options.ttl / (double)KIN_SECOND);
  kin_queue_note_failure(self->queue, &error, self->expired, true);
  self->expired = 0;
}

void kin_flush_complete(kin_producer *self, kin_user_record *record, kin_record_outcome outcome) {
  record->outcome = (unsigned char)outcome;
  for (size_t i = 0; i < self->flush_count; i++)
    self->flushes[i].left -= record->serial <= self->flushes[i].serial;
  self->open--;
  self->expired += outcome == KIN_RECORD_EXPIRED;
  kin_record_list_add(&self->settled, record);
}

void kin_flush_complete_stored(kin_producer *self, kin_record_list *records) {
  for (size_t i = 0; i < self->flush_count; i++)
    for (const kin_user_record *record = records->first; record; record = record->next)
      self->flushes[i].left -= record->serial <= self->flushes[i].serial;
  self->open -= records->count;
  kin_record_list_append(&self->settled, records);
}

void kin_flush_hand_out(kin_producer *self, kin_time now) {
  unsigned done = 0;
  size_t over = 0;
  note_expired(self);
  kin_queue_settle(self->queue, &self->settled, now);
  while (over < self->flush_count && self->flushes[over].left == 0)
    done += self->flushes[over++].count;
  if (over == 0)
    return;
  self->flush_count -= over;
  memmove(self->flushes, self->flushes + over, self->flush_count * sizeof *self->flushes);
  kin_queue_finish_flushes(self->queue, done);
}

void kin_flush_begin(kin_producer *self, unsigned count) {
  kin_flush asked = {.serial = self->last_serial, .left = self->open, .count = count};
  kin_shard_queues_flush(&self->shards, self->last_serial);
  if (count == 0)
    return;
  if (self->flush_count == KIN_FLUSHES)
    asked.count += self->flushes[--self->flush_count].count;
  self->flushes[self->flush_count++] = asked;
}
