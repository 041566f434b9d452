#include "consumer/commands.h"

#include <stdlib.h>

static void free_command(kin_message *message) {
  kin_command_message *own = (kin_command_message *)message;
  kin_message_free(own->spare_end);
  free(own->shards);
  free(own);
}

kin_command_message *kin_command_create(uint64_t reader, unsigned number, size_t count) {
  kin_command_message *command = calloc(1, sizeof *command);
  if (!command)
    return NULL;
  command->message =
      (kin_message){.kind = KIN_MESSAGE_COMMAND, .owner = reader, .free = free_command};
  command->number = number;
  command->capacity = count;
  command->shards = count > 0 ? calloc(count, sizeof *command->shards) : NULL;
  command->spare_end = count > 0 ? kin_message_plain(KIN_MESSAGE_ALL_READ, reader) : NULL;
  if (count == 0 || (command->shards && command->spare_end))
    return command;
  free_command(&command->message);
  return NULL;
}

kin_shard_command *kin_command_add(kin_command_message *command, kin_slice shard_id,
                                   kin_command_kind kind) {
  if (command->count == command->capacity) {
    size_t capacity = 2 * command->capacity + 1;
    kin_shard_command *shards = realloc(command->shards, capacity * sizeof *shards);
    if (!shards)
      return NULL;
    command->shards = shards;
    command->capacity = capacity;
  }
  kin_shard_command *each = &command->shards[command->count++];
  *each = (kin_shard_command){.kind = kind};
  kin_slice_copy(shard_id, each->shard_id, sizeof each->shard_id);
  return each;
}

static int compare(const void *one, const void *other) {
  return strcmp(((const kin_shard_command *)one)->shard_id,
                ((const kin_shard_command *)other)->shard_id);
}

/* A shard's REWIND comes first. */
static int compare_kinds(const void *one, const void *other) {
  int order = compare(one, other);
  return order != 0 ? order
                    : (int)((const kin_shard_command *)other)->kind -
                          (int)((const kin_shard_command *)one)->kind;
}

/* A shard may be moved and rewound. Its REWIND stays. */
static void drop_repeats(kin_command_message *command) {
  size_t kept = 0;
  for (size_t i = 0; i < command->count; i++)
    if (kept == 0 || compare(&command->shards[kept - 1], &command->shards[i]) != 0)
      command->shards[kept++] = command->shards[i];
  command->count = kept;
}

void kin_command_sort(kin_command_message *command) {
  size_t moved = 0;
  for (size_t i = 0; i < command->count; i++)
    if (kin_command_moves(&command->shards[i]))
      command->shards[moved++] = command->shards[i];
  command->count = moved;
  if (moved > 1)
    qsort(command->shards, moved, sizeof *command->shards, compare_kinds);
  drop_repeats(command);
}

static const kin_shard_command *find(const kin_command_message *command, const char *shard_id) {
  kin_shard_command wanted;
  kin_slice_copy(kin_slice_of(shard_id), wanted.shard_id, sizeof wanted.shard_id);
  return command->count > 0
             ? bsearch(&wanted, command->shards, command->count, sizeof wanted, compare)
             : NULL;
}

bool kin_command_is_stale(const kin_command_message *command, const kin_message *message) {
  if (message->kind == KIN_MESSAGE_PAGE)
    return find(command, ((const kin_page_message *)message)->shard_id) != NULL;
  if (message->kind == KIN_MESSAGE_SHARD_END)
    return find(command, ((const kin_shard_message *)message)->shard_id) != NULL;
  if (message->kind == KIN_MESSAGE_SHARD_START) {
    const kin_shard_command *each = find(command, ((const kin_shard_message *)message)->shard_id);
    return each && each->kind == KIN_COMMAND_REWIND;
  }
  return message->kind == KIN_MESSAGE_ALL_READ && command->reopened;
}
