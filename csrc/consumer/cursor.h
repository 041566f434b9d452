/* cursor: walks a page record by record, in the order of the shard. Aggregates of the KPL are
 * delivered whole; de-aggregation (wire/aggregate.h) would be a step of this walk. Lua can raise
 * while a record is being converted, so that a walk has two positions: what was read, and what was
 * delivered. Owned by a Lua reader; Lua thread. */
#ifndef KIN_CONSUMER_CURSOR_H
#define KIN_CONSUMER_CURSOR_H

#include "consumer/messages.h"

/* Zeroed: without a page. */
typedef struct kin_cursor {
  kin_page_message *page; /* owned; NULL: none */
  size_t read, delivered; /* records of the page */
} kin_cursor;

/* Takes the page. The cursor has none. */
void kin_cursor_open(kin_cursor *cursor, kin_page_message *page);

/* Frees the page, if there is one. */
void kin_cursor_close(kin_cursor *cursor);

/* Begins a walk behind the last delivered record; returns how many records there are at most. */
size_t kin_cursor_begin(kin_cursor *cursor);

/* The next record, inside the page. Only as often as kin_cursor_begin has said. */
const kin_record *kin_cursor_next(kin_cursor *cursor);

/* All that was read is delivered. */
void kin_cursor_deliver(kin_cursor *cursor);

/* The last delivered record of the page; NULL when there is none. */
const kin_record *kin_cursor_current(const kin_cursor *cursor);

#endif
