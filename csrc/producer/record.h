/* record: one user record from `put` to its outcome, and lists of records. A record belongs to one
 * thread at a time: to the Lua thread until it is in the queue, then to the engine thread, and from
 * its outcome on to the Lua thread again, if it failed or has a receipt. Lists are kept in the
 * order of acceptance.
 *
 *   accepted ──> routed ──> in a batch ──> stored
 *                  ^           │  │
 *                  └─ retried ─┘  └──────> failed    a fatal error; also when accepted: too large
 *
 *   and from each of the first three ────> expired   `ttl` is over
 *                                    ────> closed    the producer ended first
 *
 *   accepted    in the queue, or in `unrouted` until the shard map is known
 *   routed      in the shard_queue of its shard
 *   in a batch  in a PutRecords request that is in flight, alone or in an aggregate; or in an
 *               aggregate that may have been stored in a wrong shard (misplaced) */
#ifndef KIN_PRODUCER_RECORD_H
#define KIN_PRODUCER_RECORD_H

#include "base/clock.h"
#include "base/error.h"
#include "wire/hashkey.h"
#include "wire/put_records.h"

/* With the terminating zero. */
enum { KIN_SHARD_ID_SIZE = 129, KIN_SEQUENCE_SIZE = 132 };

typedef struct kin_attempt kin_attempt; /* see attempt.h */

/* Where a record is stored. Only records with a receipt have one. */
typedef struct kin_stored {
  char shard_id[KIN_SHARD_ID_SIZE];
  char sequence_number[KIN_SEQUENCE_SIZE];
  kin_time at, duration; /* of the attempt that succeeded; at: wall clock */
} kin_stored;

/* The most frequent one is 0: a new record has it already. */
typedef enum {
  KIN_RECORD_STORED,  /* see `stored` */
  KIN_RECORD_FAILED,  /* see the last of `attempts` */
  KIN_RECORD_EXPIRED, /* the time to live was over */
  KIN_RECORD_CLOSED,  /* the producer was closed before it was stored */
} kin_record_outcome;

typedef struct kin_user_record kin_user_record;
struct kin_user_record {
  kin_user_record *next;
  uint64_t serial;       /* order of acceptance */
  uint64_t receipt;      /* id of the receipt's handle, or 0 */
  kin_time accepted;     /* monotonic */
  kin_hash hash;         /* valid when `hashed` */
  kin_attempt *attempts; /* the failed ones, newest first; counted */
  kin_stored *stored;    /* in the same block, after `bytes`; or NULL */
  unsigned attempt_count;
  uint32_t data_len;
  uint16_t key_len, hash_key_len;
  uint16_t max_batch;    /* most records of a request with this one; 0: no limit */
  unsigned char outcome; /* kin_record_outcome */
  unsigned char unread;  /* attempts that were answered, but not readably */
  bool hashed, random_key;
  bool misplaced;            /* an aggregate with it was stored where readers drop it */
  bool alone;                /* it must not be in an aggregate again */
  bool maybe_stored;         /* the outcome of an attempt is unknown */
  bool last_outcome_unknown; /* of the last one: a retry may store the record twice */
  char bytes[];              /* data, partition key, explicit hash key */
};

/* The memory of records comes in multiples of this size, so that a record_pool can reuse it. */
enum { KIN_RECORD_STEP = 64 };

/* The memory that a record of `put` takes, and that `record` takes; in bytes. */
size_t kin_user_record_size_for(const kin_put *put, bool receipt);
size_t kin_user_record_size(const kin_user_record *record);

/* Copies `put` into `memory`, which has kin_user_record_size_for bytes. */
kin_user_record *kin_user_record_init(void *memory, const kin_put *put, bool receipt);
void kin_user_record_free(kin_user_record *record);

/* The slices point into the record. */
kin_put kin_user_record_put(const kin_user_record *record);

/* A FIFO list that owns its records. */
typedef struct kin_record_list {
  kin_user_record *first, *last;
  size_t count, bytes; /* of data and partition keys */
} kin_record_list;

static inline size_t kin_user_record_bytes(const kin_user_record *record) {
  return (size_t)record->data_len + record->key_len;
}

void kin_record_list_add(kin_record_list *list, kin_user_record *record);
kin_user_record *kin_record_list_take(kin_record_list *list);

/* Moves all records of `other` to the end of `list`. */
void kin_record_list_append(kin_record_list *list, kin_record_list *other);

/* Moves all records of `other` into `list`; both are ordered by serial. */
void kin_record_list_merge(kin_record_list *list, kin_record_list *other);

void kin_record_list_free(kin_record_list *list);

#endif
