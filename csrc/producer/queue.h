/* queue: passes records between the Lua thread and the producer's machine: accepted records to the
 * machine, and back those that have a receipt or failed. It is bounded in records and bytes: a
 * record takes part of the bound until it is freed, which is after Lua has looked at it if it has a
 * receipt or failed. A record in the queue belongs to the queue. All functions may be called on any
 * thread unless a section says otherwise, and take the queue's lock. References are counted: the
 * handle, the machine, and each message in flight have one.
 *
 * Messages, at most one of each kind in flight: KIN_MESSAGE_RECORDS, Lua thread -> machine: there
 * are records, or a flush is asked for; KIN_MESSAGE_COMPLETED, either thread -> Lua: there is
 * something to collect, capacity, or the answer of a flush. */
#ifndef KIN_PRODUCER_QUEUE_H
#define KIN_PRODUCER_QUEUE_H

#include <time.h>

#include "engine/engine.h"
#include "producer/causes.h"
#include "producer/metrics.h"

typedef struct kin_queue kin_queue;

typedef struct kin_queue_options {
  size_t max_records, max_bytes;
  size_t batch_records, batch_bytes; /* wake the machine immediately at this fill level */
} kin_queue_options;

/* One reference. NULL when memory is out. */
kin_queue *kin_queue_create(kin_engine *engine, uint64_t producer,
                            const kin_queue_options *options);
kin_queue *kin_queue_hold(kin_queue *queue);
void kin_queue_release(kin_queue *queue);

kin_metrics *kin_queue_metrics(kin_queue *queue);
kin_causes *kin_queue_causes(kin_queue *queue);

/* Transient failures are reported to the user from this many in a row on. */
enum { KIN_REPORT_AFTER = 3 };

/* Engine thread: `count` attempts failed. `report`: the user is to be notified. */
void kin_queue_note_failure(kin_queue *queue, const kin_error *error, uint64_t count, bool report);

/* ---- Lua thread ---- */

typedef enum {
  KIN_QUEUE_ACCEPTED,
  KIN_QUEUE_BEHIND, /* accepted; the machine is behind, and a caller that can wait should */
  KIN_QUEUE_FULL,
  KIN_QUEUE_CLOSED,
  KIN_QUEUE_TOO_LARGE, /* for the stream */
  KIN_QUEUE_NO_MEMORY,
} kin_queue_result;

typedef struct kin_queue_record {
  kin_put put;
  uint64_t receipt; /* id of the receipt's handle, or 0 */
  bool random_key;
} kin_queue_record;

/* Copies the record. */
kin_queue_result kin_queue_add(kin_queue *queue, const kin_queue_record *record);

/* Whether the machine is behind; if so, Lua gets KIN_MESSAGE_COMPLETED when it has caught up. A
 * record that waits for long has left the processor's caches when it is sent. */
bool kin_queue_is_behind(kin_queue *queue);

/* No more records are accepted. */
void kin_queue_close(kin_queue *queue);
bool kin_queue_closed(kin_queue *queue);

/* Appends every record that has a receipt or failed to `list`. */
void kin_queue_collect(kin_queue *queue, kin_record_list *list);

/* Frees a collected record and its part of the bound. */
void kin_queue_free_record(kin_queue *queue, kin_user_record *record);

/* Takes back a failed record whose receipt is gone: it is collected again, without a receipt. */
void kin_queue_return(kin_queue *queue, kin_user_record *record);

typedef struct kin_queue_counts {
  size_t accepted, accepted_bytes;
  size_t open;                     /* records without an outcome */
  size_t held_bytes, held_records; /* that take part of the bound */
  size_t max_record;               /* bytes; 0: not known yet */
} kin_queue_counts;

kin_queue_counts kin_queue_count(kin_queue *queue);

/* Asks for everything in the queue to be sent now. Returns the mark for kin_queue_flushed, or 0
 * when the engine is stopped. */
uint64_t kin_queue_flush(kin_queue *queue);
bool kin_queue_flushed(kin_queue *queue, uint64_t mark);

/* Whether the machine has ended: no record is open. */
bool kin_queue_ended(kin_queue *queue);

/* Adds to the number of failed records that were collected and not yet passed on to the user. */
void kin_queue_add_unreported(kin_queue *queue, int change);

/* Waits until no record is open, at most until this time of CLOCK_MONOTONIC. Returns how many
 * records are not stored and were not reported to the user. */
size_t kin_queue_wait(kin_queue *queue, struct timespec until);

/* ---- the machine, engine thread ---- */

typedef struct kin_queue_view {
  size_t count;
  kin_time oldest;  /* when the first record was accepted; KIN_NEVER: there is none */
  bool has_batch;   /* batch_records or batch_bytes is reached */
  bool was_full;    /* a record was refused since the last call: the others must not linger */
  unsigned flushes; /* asked for since the last call */
} kin_queue_view;

kin_queue_view kin_queue_inspect(kin_queue *queue);

/* Moves the first records, at most `max`, into the array; returns how many, and in `left` how many
 * the queue still has. Their `next` is not set. */
size_t kin_queue_take(kin_queue *queue, kin_user_record **records, size_t max, size_t *left);

/* The machine leaves the records in the queue, as it can send no more now. */
void kin_queue_note_blocked(kin_queue *queue);

/* The records have their outcome: they are freed, or kept for Lua. */
void kin_queue_complete(kin_queue *queue, kin_record_list *list, kin_time now);

/* The next `count` flushes, in the order in which they were asked for, are done. */
void kin_queue_finish_flushes(kin_queue *queue, unsigned count);

/* The largest record that the stream takes. */
void kin_queue_set_max_record(kin_queue *queue, size_t bytes);

/* The end of the machine: seal, then take and complete everything, then end. */
void kin_queue_seal(kin_queue *queue);
void kin_queue_end(kin_queue *queue);

#endif
