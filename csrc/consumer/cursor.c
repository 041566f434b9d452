#include "consumer/cursor.h"

void kin_cursor_open(kin_cursor *cursor, kin_page_message *page) {
  *cursor = (kin_cursor){.page = page};
}

void kin_cursor_close(kin_cursor *cursor) {
  if (cursor->page)
    kin_message_free(&cursor->page->message);
  *cursor = (kin_cursor){0};
}

size_t kin_cursor_begin(kin_cursor *cursor) {
  cursor->read = cursor->delivered;
  return cursor->page ? cursor->page->page.record_count - cursor->read : 0;
}

const kin_record *kin_cursor_next(kin_cursor *cursor) {
  return &cursor->page->page.records[cursor->read++];
}

void kin_cursor_deliver(kin_cursor *cursor) {
  cursor->delivered = cursor->read;
}

const kin_record *kin_cursor_current(const kin_cursor *cursor) {
  if (!cursor->page || cursor->delivered == 0)
    return NULL;
  return &cursor->page->page.records[cursor->delivered - 1];
}
