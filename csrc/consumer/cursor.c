#include "consumer/cursor.h"

void kin_cursor_init(kin_cursor *cursor, kin_md5 *md5) {
  *cursor = (kin_cursor){.md5 = md5};
}

void kin_cursor_free(kin_cursor *cursor) {
  kin_cursor_close(cursor);
  kin_md5_free(cursor->md5);
  cursor->md5 = NULL;
}

static void close_record(kin_cursor *cursor) {
  kin_aggregate_close(&cursor->aggregate);
  cursor->opened = false;
}

void kin_cursor_open(kin_cursor *cursor, kin_page_message *page) {
  cursor->page = page;
  cursor->delivered = (kin_position){.sub = cursor->md5 ? page->delivered : 0,
                                     .misplaced = cursor->delivered.misplaced};
  cursor->read = cursor->before = cursor->counted = cursor->delivered;
  cursor->counted_at = kin_monotonic();
  kin_reader_row_begin_page(page->row, page->lag);
}

/* Behind what has reached the user. */
static const kin_position *reached(const kin_cursor *cursor, bool unseen) {
  return unseen ? &cursor->before : &cursor->delivered;
}

void kin_cursor_count(kin_cursor *cursor, bool unseen) {
  const kin_position *now = reached(cursor, unseen), *then = &cursor->counted;
  if (!cursor->page || (now->record == then->record && now->sub == then->sub))
    return;
  kin_time since = cursor->counted_at;
  cursor->counted_at = kin_monotonic();
  kin_page_message_hand_over(cursor->page, now->records - then->records, now->bytes - then->bytes,
                             since, cursor->counted_at,
                             now->record == cursor->page->page.record_count);
  cursor->counted = *now;
}

void kin_cursor_close(kin_cursor *cursor) {
  close_record(cursor);
  kin_cursor_count(cursor, false);
  if (cursor->page)
    kin_message_free(&cursor->page->message);
  cursor->page = NULL;
  cursor->read = cursor->before = cursor->delivered;
}

size_t kin_cursor_begin(kin_cursor *cursor) {
  if (!cursor->page)
    return 0;
  if (cursor->read.record != cursor->delivered.record ||
      cursor->read.sub != cursor->delivered.sub) {
    close_record(cursor); /* Lua raised: these are delivered again */
    cursor->read = cursor->delivered;
  }
  return cursor->page->page.record_count - cursor->read.record;
}

static void leave_record(kin_cursor *cursor) {
  close_record(cursor);
  cursor->read.record++;
  cursor->read.sub = 0;
}

/* Finds out whether the record at `read` is an aggregate, and goes to its user record `sub`. False:
 * out of memory. */
static bool open_record(kin_cursor *cursor, const kin_record *record) {
  bool out_of_memory = false;
  kin_put skipped;
  if (cursor->md5)
    kin_aggregate_open(&cursor->aggregate, cursor->md5, record->data, &out_of_memory);
  cursor->opened = !out_of_memory;
  if (cursor->read.sub < cursor->aggregate.count)
    for (size_t i = 0; i < cursor->read.sub; i++)
      kin_aggregate_next(&cursor->aggregate, &skipped);
  return cursor->opened;
}

/* Of the user record of the opened aggregate that was read last. A record without a partition key
 * is from a stream where keys select no shard. */
static bool is_misplaced(kin_cursor *cursor, const kin_delivery *delivery) {
  const kin_page_message *page = cursor->page;
  return delivery->aggregated && page->has_range && delivery->record->partition_key.at &&
         kin_aggregate_is_outside(&cursor->aggregate, &delivery->user, cursor->md5, &page->range);
}

kin_cursor_step kin_cursor_next(kin_cursor *cursor, kin_delivery *delivery) {
  const kin_page *page = &cursor->page->page;
  while (cursor->read.record < page->record_count) {
    const kin_record *record = &page->records[cursor->read.record];
    if (!cursor->opened && !open_record(cursor, record))
      return KIN_CURSOR_NO_MEMORY;
    size_t count = cursor->aggregate.count > 0 ? cursor->aggregate.count : 1;
    bool found = cursor->read.sub < count; /* false: reading began behind the whole record */
    if (found) {
      *delivery = kin_delivery_of(record);
      delivery->sub = cursor->read.sub++;
      delivery->aggregated = kin_aggregate_next(&cursor->aggregate, &delivery->user);
      if (is_misplaced(cursor, delivery)) {
        cursor->read.misplaced++;
        found = !cursor->drops_misplaced;
      }
      if (found) {
        cursor->read.records++;
        cursor->read.bytes += delivery->user.data.len + delivery->user.partition_key.len;
      }
    }
    if (cursor->read.sub >= count)
      leave_record(cursor);
    if (found)
      return KIN_CURSOR_DELIVERY;
  }
  return KIN_CURSOR_END;
}

void kin_cursor_deliver(kin_cursor *cursor) {
  cursor->before = cursor->delivered;
  cursor->delivered = cursor->read;
}

void kin_cursor_take_back(kin_cursor *cursor) {
  cursor->delivered = cursor->before;
}

size_t kin_cursor_misplaced(const kin_cursor *cursor, bool unseen) {
  return reached(cursor, unseen)->misplaced;
}

const kin_record *kin_cursor_current(const kin_cursor *cursor, bool unseen, size_t *sub) {
  size_t next = reached(cursor, unseen)->record;
  *sub = reached(cursor, unseen)->sub;
  if (!cursor->page || (next == 0 && *sub == 0))
    return NULL;
  return &cursor->page->page.records[*sub > 0 ? next : next - 1];
}
