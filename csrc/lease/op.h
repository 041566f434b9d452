/* op: one operation on the leases of a store. Lua or the machine `leases` creates it, the store
 * completes it, and it returns to its creator with an outcome. Engine thread, but for creation and
 * the reading of its outcome. */
#ifndef KIN_LEASE_OP_H
#define KIN_LEASE_OP_H

#include "base/deadline.h"
#include "base/error.h"
#include "base/timers.h"
#include "engine/mailbox.h"

typedef struct kin_lease_op kin_lease_op;

/* A lease that is held, or is being taken. */
typedef struct kin_lease {
  kin_timer timer;          /* the next renewal */
  kin_deadline *valid;      /* counted; shared with what delivers its records */
  uint64_t counter;         /* as this worker has last written or seen it */
  kin_lease_op *in_flight;  /* in the store */
  kin_message_list waiting; /* operations of Lua */
  unsigned urgent;          /* of these, how many do not wait for the next renewal */
  kin_time sent_at;         /* boottime, of the operation in flight */
  unsigned failures;        /* in a row: the store could not be reached */
  unsigned mismatches;      /* in a row: the counter was another one */
  uint64_t wanted_by;       /* hash of the worker that asks for it; 0: none */
  char key[];
} kin_lease;

typedef enum {
  KIN_LEASE_LIST,   /* answer: {"key":{…},…} */
  KIN_LEASE_GET,    /* answer: {…}; refused: there is no such lease */
  KIN_LEASE_CREATE, /* refused: there is one */
  KIN_LEASE_UPDATE, /* answer: {…} as it is then; refused: it is not as expected, or not there */
  KIN_LEASE_DELETE, /* refused: it is not as expected, or not there */
  KIN_LEASE_PROBE,  /* done: the worker `key` lives, or may; refused: it does not */
} kin_lease_op_kind;

typedef enum { KIN_LEASE_DONE, KIN_LEASE_REFUSED, KIN_LEASE_FAILED } kin_lease_outcome;

struct kin_lease_op {
  kin_message message; /* first; KIN_MESSAGE_LEASE */
  kin_lease_op_kind kind;
  kin_slice key;
  kin_slice owner;  /* JSON; UPDATE, DELETE: as expected; empty: none */
  uint64_t counter; /* UPDATE, DELETE: as expected */
  kin_buf changes;  /* JSON; CREATE: the fields; UPDATE: the changes; `false` removes a field */
  kin_lease_outcome outcome;
  kin_error error;  /* FAILED */
  kin_buf answer;   /* JSON, or empty */
  uint64_t number;  /* Lua's, of its operations; 0: of the machine's own */
  int use;          /* for the machine: kin_lease_use */
  size_t given;     /* for the machine: length of the changes before it added its own */
  kin_lease *lease; /* for the machine: whose operation it is, or NULL */
  kin_lease *taken; /* owned: what TAKE begins to hold */
  char memory[];    /* of the slices */
};

enum { KIN_LEASE_CHANGES_MAX = 1 << 20 };

/* Up to here numbers of Lua and of JSON are exact. */
#define KIN_LEASE_COUNTER_MAX (UINT64_C(1) << 53)

/* The counter after this one; behind the largest it begins anew. store/row.lua has the same. */
uint64_t kin_lease_next_counter(uint64_t counter);

/* Copies key and owner. NULL: out of memory. */
kin_lease_op *kin_lease_op_create(kin_lease_op_kind kind, kin_slice key, kin_slice owner,
                                  uint64_t counter);

/* NULL: out of memory. */
kin_lease *kin_lease_create(kin_slice key);
void kin_lease_free(kin_lease *lease);

void kin_lease_op_fail(kin_lease_op *op, const kin_error *error);

#endif
