/* cursor: walks the user records of a page, in the order of the shard: an aggregate of the KPL's
 * format is taken apart as the walk comes to it, and nothing is copied. Lua can raise while a
 * record is being converted, so that a walk has two positions: what was read, and what was
 * delivered.
 *
 * A user record of an aggregate is misplaced when its hash key lies outside the range of its shard.
 * A record that was put alone is not: the service placed it.
 * Owned by a Lua reader; Lua thread. */
#ifndef KIN_CONSUMER_CURSOR_H
#define KIN_CONSUMER_CURSOR_H

#include "consumer/messages.h"
#include "wire/aggregate.h"

/* The next user record of a page, and how much of the page lies before it. */
typedef struct kin_position {
  size_t record;         /* index in the page */
  size_t sub;            /* index in that record's aggregate; 0 in a plain record */
  size_t records, bytes; /* user records that were delivered; their data and partition keys */
  size_t misplaced;      /* before it, in this page and all former ones: see kin_cursor_misplaced */
} kin_position;

/* A user record; slices into the page. */
typedef struct kin_delivery {
  const kin_record *record; /* as the service returned it */
  kin_put user;             /* what was put; the record's own data and key when it is plain */
  size_t sub;               /* the index in its aggregate */
  bool aggregated;          /* it is from an aggregate */
} kin_delivery;

/* A record that is no aggregate, or is not taken apart. */
static inline kin_delivery kin_delivery_of(const kin_record *record) {
  return (kin_delivery){.record = record,
                        .user = {.data = record->data, .partition_key = record->partition_key}};
}

typedef struct kin_cursor {
  kin_md5 *md5;                         /* owned; NULL: aggregates are delivered whole */
  kin_page_message *page;               /* owned; NULL: none */
  kin_position read, delivered, before; /* `before`: delivered before the last kin_cursor_deliver */
  kin_aggregate_reader aggregate;       /* of the record at `read`, when it is opened and one */
  bool opened;
  kin_position counted; /* what the metrics have of the page */
  kin_time counted_at;
  bool drops_misplaced; /* passes them over */
} kin_cursor;

typedef enum { KIN_CURSOR_END, KIN_CURSOR_DELIVERY, KIN_CURSOR_NO_MEMORY } kin_cursor_step;

/* `md5`, which the cursor takes, checks the digests of aggregates. */
void kin_cursor_init(kin_cursor *cursor, kin_md5 *md5);
void kin_cursor_free(kin_cursor *cursor);

/* Takes the page. The cursor has none. */
void kin_cursor_open(kin_cursor *cursor, kin_page_message *page);

/* Frees the page, if there is one; the count of misplaced records stays. */
void kin_cursor_close(kin_cursor *cursor);

/* Begins a walk behind the last delivered user record; returns how many records of the page are
 * left, aggregates counted as one. */
size_t kin_cursor_begin(kin_cursor *cursor);

/* Reads the next user record; its slices point into the page. */
kin_cursor_step kin_cursor_next(kin_cursor *cursor, kin_delivery *delivery);

/* All that was read is delivered. */
void kin_cursor_deliver(kin_cursor *cursor);

/* What was delivered last did not reach the user: it is delivered again. */
void kin_cursor_take_back(kin_cursor *cursor);

/* The following ones leave the cursor as it is, whenever they are called. `unseen`: what was
 * delivered last has not reached the user yet, and does not count. */

/* Adds what was delivered since the last time to the metrics of the shard; whoever asks for them
 * calls this before. Between two pages it is done anyway. */
void kin_cursor_count(kin_cursor *cursor, bool unseen);

/* How many of the user records that were delivered or passed over were misplaced. */
size_t kin_cursor_misplaced(const kin_cursor *cursor, bool unseen);

/* The record that holds the last delivered user record; NULL when none of this page is delivered.
 * *sub: how many of its user records are delivered; 0: all of them. */
const kin_record *kin_cursor_current(const kin_cursor *cursor, bool unseen, size_t *sub);

#endif
