/* commands: how Lua pauses a running reader, resumes it and moves it to other positions. A command
 * is a message to the reader (flow.c), which returns it when it has done what it says. The mailbox
 * keeps the order: of the shards that a command has moved, what was posted before its return is
 * from their old positions, and Lua drops it (kin_command_is_stale); what comes after is from the
 * new ones. Made by the Lua thread; owned by whoever has the message. */
#ifndef KIN_CONSUMER_COMMANDS_H
#define KIN_CONSUMER_COMMANDS_H

#include "consumer/messages.h"

typedef enum {
  KIN_COMMAND_PAUSE,  /* goes on from `from` when it is resumed */
  KIN_COMMAND_RESUME, /* no position */
  KIN_COMMAND_SEEK,   /* goes on from `from` */
  KIN_COMMAND_REWIND, /* made by the reader: goes on where it was released; see flow.c */
} kin_command_kind;

/* What becomes of one shard. */
typedef struct kin_shard_command {
  char shard_id[KIN_SHARD_ID_MAX + 1];
  kin_command_kind kind;
  kin_from from; /* PAUSE, SEEK */
  bool to_end;   /* SEEK: the position is the shard's end */
  bool ended;    /* Lua has handled the end of this shard */
} kin_shard_command;

/* Whether it takes the shard from where it is. */
static inline bool kin_command_moves(const kin_shard_command *each) {
  return each->kind == KIN_COMMAND_PAUSE ? !each->ended : each->kind != KIN_COMMAND_RESUME;
}

/* What becomes of the whole reader, before that of single shards. */
typedef enum { KIN_WHOLE_KEEP, KIN_WHOLE_PAUSE, KIN_WHOLE_RESUME } kin_whole_command;

/* KIN_MESSAGE_COMMAND, Lua -> the reader; KIN_MESSAGE_APPLIED, the reader -> Lua. */
typedef struct kin_command_message {
  kin_message message; /* first */
  unsigned number;     /* from 1; of the commands of a reader, in order */
  kin_whole_command whole;
  bool everything;           /* RESUME of the whole: of all single shards, too */
  size_t count, capacity;    /* of `shards` */
  kin_shard_command *shards; /* owned */
  kin_message *spare_end;    /* owned; the reader takes it when it has posted its own */
  bool reopened;             /* it has: that which it has posted is void */
} kin_command_message;

/* For a reader; has space for `count` shards. NULL when memory is out. */
kin_command_message *kin_command_create(uint64_t reader, unsigned number, size_t count);

/* Adds a shard. NULL when memory is out. */
kin_shard_command *kin_command_add(kin_command_message *command, kin_slice shard_id,
                                   kin_command_kind kind);

/* Sorts the shards that were moved, for kin_command_is_stale. */
void kin_command_sort(kin_command_message *command);

/* Whether a message that was posted before the sorted command returned has become void: a page or
 * the end of a shard that was moved, or the end of the reader, which is posted again. */
bool kin_command_is_stale(const kin_command_message *command, const kin_message *message);

#endif
