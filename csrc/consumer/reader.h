/* reader: many shards of a stream side by side, parents before their children. A machine of the
 * engine: the Lua thread creates it, adds its first shards and starts it; from then on the engine
 * thread owns it. Its messages to and from the Lua thread are in messages.h and
 * commands.h. */
#ifndef KIN_CONSUMER_READER_H
#define KIN_CONSUMER_READER_H

#include "consumer/messages.h"
#include "consumer/metrics.h"
#include "consumer/progress.h"

typedef struct kin_reader_options {
  kin_slice stream;
  const kin_target *target; /* NULL: the engine's */
  kin_time poll_interval;   /* between two pages of a shard that is read to its tip */
  size_t window_bytes;
  /* Instead of window_bytes, where several readers share them: it asks for pages that fit, by the
   * size of the records before them. NULL: none. */
  kin_window_pool *window_pool;
  bool stop_at_tip;
  double until; /* ends each shard before its first record that arrived later; seconds since 1970;
                   0: none */
  bool follow;  /* go on with the children of a shard that ended */
  unsigned page_limit; /* most records of a page; 0: as many as the service gives */
  bool report_starts;  /* post KIN_MESSAGE_SHARD_START */
} kin_reader_options;

typedef struct kin_reader kin_reader;

/* Lua thread. NULL when memory is out. */
kin_reader *kin_reader_create(kin_engine *engine, uint64_t id, const kin_reader_options *options);

/* Lua thread, before the start: takes the shard; a parent may be empty. False, and the shard freed,
 * when it is NULL or memory is out. */
bool kin_reader_add(kin_reader *reader, kin_shard *shard, const kin_slice parents[2]);

/* Lua thread, before the start. The reader's progress; it lives as long as the reader, or as it is
 * held. */
kin_progress *kin_reader_progress(kin_reader *reader);

/* Lua thread, before the start. The reader's metrics, likewise. */
kin_reader_metrics *kin_reader_metrics_of(kin_reader *reader);

/* Lua thread: gives the reader to the engine. False when the engine is stopped; the reader is freed
 * then. */
bool kin_reader_start(kin_engine *engine, kin_reader *reader);

/* Of a reader that was not started. */
void kin_reader_free(kin_reader *reader);

#endif
