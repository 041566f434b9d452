/* metrics: what a reader and its shards have done, and how far behind each shard is. One row for
 * each shard that is read; rows stay as long as the metrics, so that a page can point to its row.
 * The engine thread notes calls and answers; the Lua thread notes what was handed over, some times
 * a page and never for each record, and reads. Every function locks the mutex of the metrics for a
 * moment. Shared by the reader (engine thread) and the Lua reader, and counted: the last reference
 * out frees it. */
#ifndef KIN_CONSUMER_METRICS_H
#define KIN_CONSUMER_METRICS_H

#include "base/clock.h"
#include "consumer/lineage.h"

typedef struct kin_reader_metrics kin_reader_metrics;
typedef struct kin_reader_row kin_reader_row;

typedef enum {
  KIN_READER_CALLS,     /* that were sent */
  KIN_READER_THROTTLED, /* that were throttled */
  KIN_READER_RENEWALS,  /* iterators that were taken again */
  KIN_READER_FAILURES,  /* calls that failed otherwise, but for expired iterators */
  KIN_READER_COUNTERS,
} kin_reader_counter;

/* How far behind the tip an answer was, when it came. */
typedef struct kin_lag {
  double millis; /* MillisBehindLatest; negative: the answer did not have it */
  kin_time at;   /* monotonic; of one that was paused, when it was asked for */
} kin_lag;

/* NULL when memory is out. */
kin_reader_metrics *kin_reader_metrics_create(void);
kin_reader_metrics *kin_reader_metrics_hold(kin_reader_metrics *metrics);
void kin_reader_metrics_release(kin_reader_metrics *metrics);

/* ---- engine thread; the first rows are added by the Lua thread, before the start ---- */

/* NULL when memory is out. */
kin_reader_row *kin_reader_metrics_add(kin_reader_metrics *metrics, const char *shard_id,
                                       kin_shard_state state);

/* A shard has been trimmed before all of it was read. */
void kin_reader_metrics_note_trimmed(kin_reader_metrics *metrics);

kin_reader_metrics *kin_reader_row_metrics(const kin_reader_row *row);
void kin_reader_row_count(kin_reader_row *row, kin_reader_counter counter);
void kin_reader_row_set_state(kin_reader_row *row, kin_shard_state state);

/* Whether records may lie before the shard's tip that the reader has to fetch, so that its lag
 * counts. */
void kin_reader_row_set_pending(kin_reader_row *row, bool pending, kin_time now);

/* The shard is read from another position: its lag counts anew. */
void kin_reader_row_move(kin_reader_row *row, kin_time now);

/* What was fetched and not handed over will be dropped: the lag stays that of what was. */
void kin_reader_row_pause(kin_reader_row *row);

/* Before the page of the answer is posted; `posted`: it has records. */
void kin_reader_row_note_answer(kin_reader_row *row, kin_lag lag, bool posted);

/* ---- Lua thread ---- */

/* The first record of a page is handed over next. */
void kin_reader_row_begin_page(kin_reader_row *row, kin_lag lag);

/* More user records, since `since`; `whole`: and with them the rest of the page. */
void kin_reader_row_hand_over(kin_reader_row *row, size_t records, size_t bytes, kin_time since,
                              kin_time now, bool whole);

/* A page is freed that was not handed over as a whole. */
void kin_reader_row_drop_page(kin_reader_row *row);

/* From now on the figures stay as they are at this time. */
void kin_reader_metrics_close(kin_reader_metrics *metrics, kin_time now);

/* ---- any thread ---- */

typedef struct kin_reader_shard_figures {
  char shard_id[KIN_SHARD_ID_MAX + 1];
  kin_shard_state state;
  double millis_behind; /* of what was handed over last; negative: unknown */
  uint64_t records, bytes, counts[KIN_READER_COUNTERS];
  double records_per_second, bytes_per_second; /* over 10 s */
} kin_reader_shard_figures;

typedef struct kin_reader_figures {
  size_t shards; /* how many there are */
  size_t trimmed;
  uint64_t records, bytes;
  double lag; /* seconds; negative: unknown */
} kin_reader_figures;

/* Reads the figures of the reader, and of at most `capacity` shards. */
kin_reader_figures kin_reader_metrics_read(kin_reader_metrics *metrics, kin_time now,
                                           kin_reader_shard_figures *shards, size_t capacity);

#endif
