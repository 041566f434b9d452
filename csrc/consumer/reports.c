#include <stdarg.h>
#include <stdio.h>

#include "consumer/internal.h"

static void post(kin_reader *reader, kin_message *message) {
  kin_engine_notify(reader->machine.engine, message);
}

void kin_reports_error(kin_reader *reader, const char *shard_id, unsigned in_a_row,
                       const kin_error *error, kin_trouble_level level) {
  kin_trouble_message *message;
  bool fatal = level == KIN_TROUBLE_FATAL;
  if (fatal)
    reader->stopped = true;
  bool counted = kin_window_take_trouble(reader->window);
  if (!counted && (level == KIN_TROUBLE_QUIET || level == KIN_TROUBLE_RETRIED))
    return; /* Lua has not drained the earlier ones; of the others there are few for each shard */
  if (fatal) {
    message = reader->reserved_error;
    reader->reserved_error = NULL;
  } else {
    message = kin_trouble_message_create(reader->machine.id);
  }
  if (!message) {
    if (counted)
      kin_window_give_trouble(reader->window);
    return;
  }
  message->window = counted ? kin_window_hold(reader->window) : NULL;
  kin_slice_copy(kin_slice_of(shard_id), message->shard_id, sizeof message->shard_id);
  message->error = *error;
  message->in_a_row = in_a_row;
  message->level = level;
  post(reader, &message->message);
}

void kin_reports_note(kin_reader *reader, const kin_shard *shard, kin_trouble_level level,
                      const char *code, const char *format, ...) {
  char text[512];
  kin_error error;
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  kin_error_clear(&error);
  bool final = level == KIN_TROUBLE_FATAL || level == KIN_TROUBLE_NOTED;
  kin_error_set(&error, final ? KIN_FATAL : KIN_TRANSIENT, code, "%s", text);
  kin_slice_copy(KIN_SLICE("ListShards"), error.operation, sizeof error.operation);
  unsigned in_a_row = shard->failures > 0 ? shard->failures : 1;
  kin_reports_error(reader, shard->node.id, in_a_row, &error, level);
}

void kin_reports_explain_position(const kin_shard *shard, kin_error *error) {
  const kin_from *from = &shard->source->from;
  bool saved = from->kind == KIN_FROM_AT || from->kind == KIN_FROM_AFTER;
  if (!saved || strcmp(error->code, "InvalidArgumentException") != 0 ||
      strcmp(error->operation, "GetShardIterator") != 0)
    return;
  char said[KIN_ERROR_MESSAGE_MAX];
  kin_slice_copy(kin_slice_of(error->message), said, sizeof said);
  kin_error_set(error, error->class, "InvalidArgumentException",
                "the service refuses sequence number %s in %s: the stream was probably deleted and "
                "made again under its name; then begin with from = \"trim_horizon\" (it says: %s)",
                from->sequence_number, shard->node.id, said);
}

void kin_reports_memory(kin_reader *reader, const char *shard_id) {
  kin_error error;
  kin_error_clear(&error);
  kin_error_set(&error, KIN_FATAL, KIN_CODE_OUT_OF_MEMORY, "out of memory while reading %s",
                shard_id);
  kin_reports_error(reader, shard_id, 1, &error, KIN_TROUBLE_FATAL);
}

void kin_reports_ready(kin_reader *reader) {
  kin_ready_message *message =
      kin_ready_message_create(reader->machine.id, reader->latest_at, reader->commands);
  reader->awaits_latest = false;
  if (message)
    post(reader, &message->message);
  else
    kin_reports_memory(reader, "the first shards");
}

void kin_reports_paused(kin_reader *reader) {
  kin_message *message = kin_message_plain(KIN_MESSAGE_PAUSED, reader->machine.id);
  if (message)
    post(reader, message);
  else
    kin_reports_memory(reader, "the stream");
}

bool kin_reports_shard(kin_reader *reader, kin_shard *shard, kin_message_kind kind, bool closed,
                       bool trimmed) {
  kin_shard_message *message = kin_shard_message_create(reader->machine.id, kind, shard->node.id);
  if (!message) {
    kin_reports_memory(reader, shard->node.id);
    return false;
  }
  message->closed = closed;
  message->trimmed = trimmed;
  message->by_time = shard->by_time;
  message->read_before = shard->known.read;
  message->alive = reader->lineage.alive;
  post(reader, &message->message);
  return true;
}

void kin_reports_all_read(kin_reader *reader) {
  reader->stopped = true;
  post(reader, reader->reserved_end);
  reader->reserved_end = NULL;
}
