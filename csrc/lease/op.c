#include "lease/op.h"

#include <stdlib.h>

#include "lease/table.h"

static void free_op(kin_message *message) {
  kin_lease_op *op = (kin_lease_op *)message;
  kin_buf_free(&op->changes);
  kin_buf_free(&op->answer);
  kin_lease_free(op->taken);
  free(op);
}

kin_lease *kin_lease_create(kin_slice key) {
  kin_lease *lease = calloc(1, sizeof *lease + key.len + 1);
  kin_deadline *valid = kin_deadline_create();
  if (!lease || !valid) {
    kin_deadline_release(valid);
    free(lease);
    return NULL;
  }
  lease->valid = valid;
  kin_message_list_init(&lease->waiting);
  kin_slice_copy(key, lease->key, key.len + 1);
  return lease;
}

void kin_lease_free(kin_lease *lease) {
  if (!lease)
    return;
  kin_deadline_set(lease->valid, 0);
  kin_deadline_release(lease->valid);
  kin_message_list_free(&lease->waiting);
  free(lease);
}

kin_lease_op *kin_lease_op_create(kin_lease_op_kind kind, kin_slice key, kin_slice owner,
                                  uint64_t counter) {
  kin_lease_op *op = calloc(1, sizeof *op + key.len + owner.len);
  if (!op)
    return NULL;
  op->message = (kin_message){.kind = KIN_MESSAGE_LEASE, .free = free_op};
  op->kind = kind;
  op->counter = counter;
  op->key = (kin_slice){op->memory, key.len};
  op->owner = (kin_slice){op->memory + key.len, owner.len};
  if (key.len > 0)
    memcpy(op->memory, key.at, key.len);
  if (owner.len > 0)
    memcpy(op->memory + key.len, owner.at, owner.len);
  kin_buf_init(&op->changes, KIN_LEASE_CHANGES_MAX);
  kin_buf_init(&op->answer, KIN_LEASE_TABLE_MAX);
  return op;
}

uint64_t kin_lease_next_counter(uint64_t counter) {
  return counter < KIN_LEASE_COUNTER_MAX ? counter + 1 : 0;
}

void kin_lease_op_fail(kin_lease_op *op, const kin_error *error) {
  op->outcome = KIN_LEASE_FAILED;
  op->error = *error;
}
