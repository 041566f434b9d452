#include "consumer/messages.h"

#include <stdlib.h>

static void *create(uint64_t reader, kin_message_kind kind, size_t size,
                    void (*free_message)(kin_message *message)) {
  kin_message *message = calloc(1, size);
  if (message)
    *message = (kin_message){.kind = kind, .owner = reader, .free = free_message};
  return message;
}

static void free_plain(kin_message *message) {
  free(message);
}

static void free_page(kin_message *message) {
  kin_page_message *own = (kin_page_message *)message;
  if (own->row) {
    if (!own->handed_over)
      kin_reader_row_drop_page(own->row);
    kin_reader_metrics_release(kin_reader_row_metrics(own->row));
  }
  kin_page_free(&own->page);
  kin_window_give(own->window, own->bytes);
  kin_window_release(own->window);
  free(own);
}

kin_page_message *kin_page_message_create(uint64_t reader, const char *shard_id, kin_page *page,
                                          kin_window *window, size_t bytes) {
  kin_page_message *message = create(reader, KIN_MESSAGE_PAGE, sizeof *message, free_page);
  if (!message)
    return NULL;
  kin_slice_copy(kin_slice_of(shard_id), message->shard_id, sizeof message->shard_id);
  message->page = *page;
  *page = (kin_page){0};
  message->window = kin_window_hold(window);
  message->bytes = bytes;
  return message;
}

void kin_page_message_enter(kin_page_message *message, kin_reader_row *row, kin_lag lag) {
  kin_reader_metrics_hold(kin_reader_row_metrics(row));
  message->row = row;
  message->lag = lag;
  kin_reader_row_note_answer(row, lag, true);
}

void kin_page_message_hand_over(kin_page_message *message, size_t records, size_t bytes,
                                kin_time since, kin_time now, bool whole) {
  message->handed_over |= whole;
  kin_reader_row_hand_over(message->row, records, bytes, since, now, whole);
}

kin_ready_message *kin_ready_message_create(uint64_t reader, double start, unsigned commands) {
  kin_ready_message *message = create(reader, KIN_MESSAGE_READY, sizeof *message, free_plain);
  if (message) {
    message->start = start;
    message->commands = commands;
  }
  return message;
}

kin_shard_message *kin_shard_message_create(uint64_t reader, kin_message_kind kind,
                                            const char *shard_id) {
  kin_shard_message *message = create(reader, kind, sizeof *message, free_plain);
  if (message)
    kin_slice_copy(kin_slice_of(shard_id), message->shard_id, sizeof message->shard_id);
  return message;
}

static void free_trouble(kin_message *message) {
  kin_trouble_message *own = (kin_trouble_message *)message;
  if (own->window) {
    kin_window_give_trouble(own->window);
    kin_window_release(own->window);
  }
  free(own);
}

kin_trouble_message *kin_trouble_message_create(uint64_t reader) {
  return create(reader, KIN_MESSAGE_TROUBLE, sizeof(kin_trouble_message), free_trouble);
}
