/* messages: between a reader and the Lua thread. The sender creates a message, the receiver frees
 * it (kin_message_free); either thread. A function that creates one returns NULL when memory is
 * out. */
#ifndef KIN_CONSUMER_MESSAGES_H
#define KIN_CONSUMER_MESSAGES_H

#include "consumer/metrics.h"
#include "consumer/shard.h"
#include "consumer/window.h"

/* KIN_MESSAGE_PAGE, engine -> Lua: at least one record of one shard. The cursor of the Lua reader
 * frees it, and with it the page and its body, after the last record (kin_cursor_close). */
typedef struct kin_page_message {
  kin_message message; /* first */
  char shard_id[KIN_SHARD_ID_MAX + 1];
  kin_page page;       /* owned */
  kin_window *window;  /* counted */
  size_t bytes;        /* held in the window until the message is freed */
  size_t delivered;    /* user records of its first record that were delivered before */
  kin_reader_row *row; /* of the shard; the page counts its metrics; NULL: not entered */
  kin_lag lag;
  bool handed_over; /* as a whole */
  bool has_range;   /* false: the shard's range of hash keys is not known yet */
  kin_hash_range range;
} kin_page_message;

/* Moves the page into the message, which holds `bytes` of the window from now on. */
kin_page_message *kin_page_message_create(uint64_t reader, const char *shard_id, kin_page *page,
                                          kin_window *window, size_t bytes);

/* Before it is posted: the page counts for the shard's lag until it was handed over or freed. */
void kin_page_message_enter(kin_page_message *message, kin_reader_row *row, kin_lag lag);

/* Lua thread: as kin_reader_row_hand_over. */
void kin_page_message_hand_over(kin_page_message *message, size_t records, size_t bytes,
                                kin_time since, kin_time now, bool whole);

/* KIN_MESSAGE_READY, engine -> Lua: the first shards have their positions, or those that a command
 * has moved to LATEST. */
typedef struct kin_ready_message {
  kin_message message; /* first */
  double start;        /* seconds since 1970: what LATEST stands for from now on */
  unsigned commands;   /* that the reader had taken */
} kin_ready_message;

kin_ready_message *kin_ready_message_create(uint64_t reader, double start, unsigned commands);

/* KIN_MESSAGE_SHARD_START, KIN_MESSAGE_SHARD_END and KIN_MESSAGE_SHARD_ADDED, engine -> Lua. */
typedef struct kin_shard_message {
  kin_message message; /* first */
  char shard_id[KIN_SHARD_ID_MAX + 1];
  bool closed;      /* end: it was read to its end; false: it only reached the tip */
  bool trimmed;     /* end: the service does not have it any more */
  bool by_time;     /* end: what is left of it arrived after until_timestamp */
  bool read_before; /* end: the position says that it was read to its end */
  size_t alive;     /* shards of the reader that are not done */
} kin_shard_message;

kin_shard_message *kin_shard_message_create(uint64_t reader, kin_message_kind kind,
                                            const char *shard_id);

/* What Lua does with an error. */
typedef enum {
  KIN_TROUBLE_QUIET,   /* keeps it: an expected error, but the last one counts */
  KIN_TROUBLE_RETRIED, /* gives it to on_error, or reports it from the third in a row */
  KIN_TROUBLE_NOTED,   /* the same, but reports it at once: the reader goes on without something */
  KIN_TROUBLE_FATAL,   /* raises it: the reader has stopped */
} kin_trouble_level;

/* KIN_MESSAGE_TROUBLE, engine -> Lua: a call has failed, or the service contradicts itself. */
typedef struct kin_trouble_message {
  kin_message message;                 /* first */
  char shard_id[KIN_SHARD_ID_MAX + 1]; /* empty: the list of shards */
  kin_error error;
  unsigned in_a_row;
  kin_window *window; /* counted; bounds how many of these messages there are; NULL: not this one */
  kin_trouble_level level;
} kin_trouble_message;

kin_trouble_message *kin_trouble_message_create(uint64_t reader);

#endif
