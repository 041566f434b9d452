/* attempt: the failed attempts of records. Records that failed together share one kin_attempt,
 * which is reference-counted, as some of those records are with the engine and some with Lua, and
 * never changes once it is made. Any thread may read and release an attempt; kin_attempt_outcome
 * belongs to the engine thread. */
#ifndef KIN_PRODUCER_ATTEMPT_H
#define KIN_PRODUCER_ATTEMPT_H

#include <stdatomic.h>

#include "producer/record.h"

/* The most attempts that are kept for a record: the first ones and the last one. */
enum { KIN_ATTEMPTS_MAX = 16 };

/* The most attempts of one request that are shared. */
enum { KIN_ATTEMPTS_SHARED = 64 };

struct kin_attempt {
  kin_attempt *before; /* the previous attempt of the same records; counted */
  atomic_uint references;
  unsigned depth;        /* number of attempts before this one; less than KIN_ATTEMPTS_MAX */
  kin_time at, duration; /* at: wall clock */
  kin_error_class class;
  int status;
  char code[64];
  char request_id[80];
  char message[]; /* terminated */
};

void kin_attempt_release(kin_attempt *attempt);

/* One request that has ended: its times, and the attempts that were made for its records. */
typedef struct kin_attempt_outcome {
  kin_time at, duration; /* at: wall clock */
  kin_time started_at;   /* monotonic; 0: the request was never sent */
  kin_time now;          /* monotonic */
  bool maybe_stored;     /* the outcome is unknown: the service may have stored the records */
  kin_attempt *shared[KIN_ATTEMPTS_SHARED]; /* the newest attempts; counted */
  size_t made;
} kin_attempt_outcome;

/* Adds a failed attempt to each of the records. When memory is out, they keep those they have. */
void kin_attempt_note(kin_attempt_outcome *outcome, kin_record_list *records,
                      const kin_error *error);

/* Releases the attempts that are shared. */
void kin_attempt_outcome_free(kin_attempt_outcome *outcome);

#endif
