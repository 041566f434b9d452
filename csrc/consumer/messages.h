/* messages: between a reader and the Lua thread. The sender creates a message, the receiver frees
 * it (kin_message_free); either thread. A function that creates one returns NULL when memory is
 * out. */
#ifndef KIN_CONSUMER_MESSAGES_H
#define KIN_CONSUMER_MESSAGES_H

#include "consumer/shard.h"
#include "consumer/window.h"

/* KIN_MESSAGE_PAGE, engine -> Lua: at least one record of one shard. The cursor of the Lua reader
 * frees it, and with it the page and its body, after the last record (kin_cursor_close). */
typedef struct kin_page_message {
  kin_message message; /* first */
  char shard_id[KIN_SHARD_ID_MAX + 1];
  kin_page page;      /* owned */
  kin_window *window; /* counted */
  size_t bytes;       /* held in the window until the message is freed */
  size_t delivered;   /* user records of its first record that were delivered before */
} kin_page_message;

/* Moves the page into the message, which holds `bytes` of the window from now on. */
kin_page_message *kin_page_message_create(uint64_t reader, const char *shard_id, kin_page *page,
                                          kin_window *window, size_t bytes);

/* KIN_MESSAGE_READY, engine -> Lua: the first shards have their positions. */
typedef struct kin_ready_message {
  kin_message message; /* first */
  double start;        /* seconds since 1970: what LATEST stands for from now on */
} kin_ready_message;

kin_ready_message *kin_ready_message_create(uint64_t reader, double start);

/* KIN_MESSAGE_SHARD_END, and KIN_MESSAGE_SHARD_STARTED with `alive` alone, engine -> Lua. */
typedef struct kin_shard_end_message {
  kin_message message; /* first */
  char shard_id[KIN_SHARD_ID_MAX + 1];
  bool closed;         /* read to its end; false: it only reached the tip */
  bool names_children; /* false: the children are found by listing the shards only */
  size_t alive;        /* shards of the reader that are not done, children included */
} kin_shard_end_message;

kin_shard_end_message *kin_shard_end_message_create(uint64_t reader, kin_message_kind kind);

/* KIN_MESSAGE_TROUBLE, engine -> Lua: a call has failed. */
typedef struct kin_trouble_message {
  kin_message message; /* first */
  char shard_id[KIN_SHARD_ID_MAX + 1];
  kin_error error;
  unsigned in_a_row;
  kin_window *window; /* counted, when posted; bounds how many of these messages there are */
  bool fatal;         /* the reader has stopped */
} kin_trouble_message;

kin_trouble_message *kin_trouble_message_create(uint64_t reader);

/* KIN_MESSAGE_START_SHARD, Lua -> engine. Ignored when the reader has the shard already. */
typedef struct kin_start_shard_message {
  kin_message message; /* first */
  kin_shard *shard;    /* owned; NULL once the reader has taken it */
} kin_start_shard_message;

/* Takes the shard, unless memory is out. */
kin_start_shard_message *kin_start_shard_message_create(uint64_t reader, kin_shard *shard);

#endif
