/* reader: many shards of a stream side by side, parents before their children. A machine of the
 * engine; its pages go to Lua, each as a message that owns the answer it was read from. */
#ifndef KIN_CONSUMER_READER_H
#define KIN_CONSUMER_READER_H

#include "consumer/lineage.h"

/* KIN_MESSAGE_PAGE: at least one record. */
typedef struct kin_page_message {
  kin_message message; /* first */
  char shard_id[KIN_SHARD_ID_MAX + 1];
  kin_page page;
  kin_window *window; /* counted */
  size_t bytes;       /* what it takes of the window */
} kin_page_message;

/* KIN_MESSAGE_READY */
typedef struct kin_ready_message {
  kin_message message; /* first */
  double start;        /* seconds since 1970: what LATEST stands for from now on */
} kin_ready_message;

/* KIN_MESSAGE_SHARD_END, and KIN_MESSAGE_SHARD_STARTED, where only `alive` is message. */
typedef struct kin_shard_end_message {
  kin_message message; /* first */
  char shard_id[KIN_SHARD_ID_MAX + 1];
  bool closed;         /* read to its end; else it only reached the tip */
  bool names_children; /* false: somebody has to list the shards to find them */
  size_t alive;        /* shards of the reader that are not done, children included */
} kin_shard_end_message;

/* KIN_MESSAGE_TROUBLE. */
typedef struct kin_trouble_message {
  kin_message message; /* first */
  char shard_id[KIN_SHARD_ID_MAX + 1];
  kin_error error;
  unsigned in_a_row;
  kin_window *window; /* counted; it bounds how many of these there are */
  bool fatal;         /* the reader has stopped */
} kin_trouble_message;

/* KIN_MESSAGE_START_SHARD. Ignored when the reader has the shard already. */
typedef struct kin_start_shard {
  kin_message message; /* first */
  kin_shard *shard;    /* owned */
} kin_start_shard;

kin_start_shard *kin_start_shard_create(kin_shard *shard, uint64_t reader);

typedef struct kin_reader_options {
  kin_slice stream;
  const kin_target *target; /* NULL: the engine's */
  kin_time poll_interval;
  size_t window_bytes;
  bool stop_at_tip;
  bool follow; /* go on with the children of a shard that ended */
} kin_reader_options;

typedef struct kin_reader kin_reader;

/* Lua thread: create, add the shards, start (which takes it; false when the engine is stopped). A
 * reader that was not started is freed by kin_reader_free. */
kin_reader *kin_reader_create(kin_engine *engine, uint64_t id, const kin_reader_options *options);
bool kin_reader_add(kin_reader *reader, kin_shard *shard); /* takes the shard if true */
bool kin_reader_start(kin_engine *engine, kin_reader *reader);
void kin_reader_free(kin_reader *reader);

#endif
