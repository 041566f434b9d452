/* record: one user record from `put` to its answer, and the lists it goes through: those who send
 * keep them in the order of acceptance. */
#ifndef KIN_PRODUCER_RECORD_H
#define KIN_PRODUCER_RECORD_H

#include <stdatomic.h>

#include "base/clock.h"
#include "base/error.h"
#include "wire/hashkey.h"
#include "wire/put_records.h"

enum { KIN_ATTEMPTS_TOLD = 16 };

/* A failed attempt, told once for all records that were in it: counted, as some of them are with
 * the engine and some with Lua. Never changed once made. */
typedef struct kin_attempt {
  struct kin_attempt *before; /* of the same records; counted */
  atomic_uint references;
  unsigned depth;        /* attempts behind it; fewer than KIN_ATTEMPTS_TOLD */
  kin_time at, duration; /* at: wall */
  kin_error_class class;
  int status;
  char code[KIN_ERROR_CODE_MAX];
  char request_id[KIN_REQUEST_ID_MAX];
  char message[]; /* terminated */
} kin_attempt;

/* Where a record is stored. Only those that somebody waits for have one. */
typedef struct kin_stored {
  char shard_id[KIN_SHARD_ID_MAX + 1];
  char sequence_number[KIN_SEQUENCE_NUMBER_MAX + 1];
  kin_time at, duration; /* of the attempt that went well; at: wall */
} kin_stored;

/* The usual one is 0, so that it need not be written. */
typedef enum {
  KIN_RECORD_STORED,  /* `stored` says where, if there is one */
  KIN_RECORD_FAILED,  /* the last attempt says why */
  KIN_RECORD_EXPIRED, /* its time to live is over */
  KIN_RECORD_CLOSED,  /* the producer was closed before it was stored */
} kin_record_outcome;

typedef struct kin_user_record kin_user_record;
struct kin_user_record {
  kin_user_record *next;
  uint64_t serial;  /* order of acceptance */
  uint64_t receipt; /* the handle that waits for it, or 0 */
  kin_time accepted;
  kin_hash hash;         /* once it is `hashed` */
  kin_attempt *attempts; /* those that failed, the last one first */
  kin_stored *stored;    /* behind the bytes, or NULL */
  unsigned tries;        /* how often it was sent */
  uint32_t data_len;
  uint16_t key_len, hash_key_len;
  uint16_t max_batch; /* most records of a call that may hold this one; 0: any number */
  unsigned char outcome;
  bool hashed, random_key;
  bool maybe_stored;         /* an attempt's outcome is unknown: it may be stored */
  bool last_outcome_unknown; /* that of the last one: sent again, it may be stored twice */
  char bytes[];              /* data, key, explicit hash key */
};

/* Sizes of records are multiples of this one, so that the memory of one serves another. */
enum { KIN_RECORD_STEP = 64 };

/* Of memory. */
size_t kin_user_record_size(const kin_put *put, bool receipt);
size_t kin_user_record_room(const kin_user_record *record);

/* Copies, to memory of that size. */
kin_user_record *kin_user_record_init(void *memory, const kin_put *put, bool receipt);
void kin_user_record_free(kin_user_record *record);

/* Its slices. */
kin_put kin_user_record_put(const kin_user_record *record);

/* Notes a failed attempt. Of many, the first ones and the last one are kept. */
void kin_user_record_note(kin_user_record *record, kin_attempt *attempt);

/* What stays behind an attempt that follows `before`: that, or when there are enough of them the
 * one before it. */
kin_attempt *kin_attempt_behind(kin_attempt *before);

/* A fresh attempt with `before` behind it, which is held; one reference. NULL when memory is out.
 */
kin_attempt *kin_attempt_create(kin_attempt *before, const kin_error *error, kin_time at,
                                kin_time duration);
void kin_attempt_release(kin_attempt *attempt);

/* First in, first out. */
typedef struct kin_record_list {
  kin_user_record *first, *last;
  size_t count, bytes; /* data and keys */
} kin_record_list;

static inline size_t kin_user_record_bytes(const kin_user_record *record) {
  return (size_t)record->data_len + record->key_len;
}

void kin_record_list_add(kin_record_list *list, kin_user_record *record);
kin_user_record *kin_record_list_take(kin_record_list *list);

/* Appends all of `other`, which is empty afterwards. */
void kin_record_list_append(kin_record_list *list, kin_record_list *other);

/* All of `other` to where their serials belong; both are in that order. */
void kin_record_list_merge(kin_record_list *list, kin_record_list *other);

void kin_record_list_free(kin_record_list *list);

#endif
