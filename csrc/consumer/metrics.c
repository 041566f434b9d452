#include "consumer/metrics.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Rates are over the last RATE_SECONDS; the slot of the oldest second counts in part. */
enum { RATE_SECONDS = 10, SLOTS = RATE_SECONDS + 1 };

/* What was handed over in one second of the monotonic clock. */
typedef struct slot {
  kin_time second;
  float records, bytes;
} slot;

struct kin_reader_row {
  kin_reader_metrics *metrics; /* which owns the row */
  kin_reader_row *next;
  char shard_id[KIN_SHARD_ID_MAX + 1];
  kin_shard_state state;
  bool pending;          /* see set_pending */
  bool answered;         /* since it was begun, or moved */
  size_t pages;          /* posted, and not handed over as a whole */
  kin_lag newest;        /* of the newest answer; before it: 0, at the begin */
  kin_lag handed;        /* of the page that was handed over last, while there are `pages` */
  kin_time first_handed; /* 0: nothing was */
  uint64_t records, bytes, counts[KIN_READER_COUNTERS];
  slot slots[SLOTS];
};

struct kin_reader_metrics {
  atomic_int references;
  pthread_mutex_t lock; /* of all that follows, and of the rows */
  kin_reader_row *rows;
  size_t count, trimmed;
  bool answered;
  kin_time closed_at; /* 0: it is open */
};

kin_reader_metrics *kin_reader_metrics_create(void) {
  kin_reader_metrics *metrics = calloc(1, sizeof *metrics);
  if (!metrics)
    return NULL;
  atomic_init(&metrics->references, 1);
  pthread_mutex_init(&metrics->lock, NULL);
  return metrics;
}

kin_reader_metrics *kin_reader_metrics_hold(kin_reader_metrics *metrics) {
  atomic_fetch_add(&metrics->references, 1);
  return metrics;
}

void kin_reader_metrics_release(kin_reader_metrics *metrics) {
  if (!metrics || atomic_fetch_sub(&metrics->references, 1) != 1)
    return;
  kin_reader_row *row;
  while ((row = metrics->rows)) {
    metrics->rows = row->next;
    free(row);
  }
  pthread_mutex_destroy(&metrics->lock);
  free(metrics);
}

static void lock(kin_reader_row *row) {
  pthread_mutex_lock(&row->metrics->lock);
}

/* False: the reader was closed, and its figures stay as they are. */
static bool lock_open(kin_reader_row *row) {
  lock(row);
  if (row->metrics->closed_at == 0)
    return true;
  pthread_mutex_unlock(&row->metrics->lock);
  return false;
}

static void unlock(kin_reader_row *row) {
  pthread_mutex_unlock(&row->metrics->lock);
}

/* When all of the shard that was fetched has been handed over, the newest answer tells. */
static const kin_lag *lag_of(const kin_reader_row *row) {
  return row->pages == 0 ? &row->newest : &row->handed;
}

/* ---- writing ---- */

kin_reader_row *kin_reader_metrics_add(kin_reader_metrics *metrics, const char *shard_id,
                                       kin_shard_state state) {
  kin_reader_row *row = calloc(1, sizeof *row);
  if (!row)
    return NULL;
  row->metrics = metrics;
  row->state = state;
  kin_slice_copy(kin_slice_of(shard_id), row->shard_id, sizeof row->shard_id);
  lock(row);
  row->next = metrics->rows;
  metrics->rows = row;
  metrics->count++;
  unlock(row);
  return row;
}

void kin_reader_metrics_note_trimmed(kin_reader_metrics *metrics) {
  pthread_mutex_lock(&metrics->lock);
  metrics->trimmed++;
  pthread_mutex_unlock(&metrics->lock);
}

kin_reader_metrics *kin_reader_row_metrics(const kin_reader_row *row) {
  return row->metrics;
}

void kin_reader_row_count(kin_reader_row *row, kin_reader_counter counter) {
  if (!lock_open(row))
    return;
  row->counts[counter]++;
  unlock(row);
}

void kin_reader_row_set_state(kin_reader_row *row, kin_shard_state state) {
  if (!lock_open(row))
    return;
  row->state = state;
  unlock(row);
}

void kin_reader_row_set_pending(kin_reader_row *row, bool pending, kin_time now) {
  if (!lock_open(row))
    return;
  if (pending && !row->pending && !row->answered)
    row->newest = (kin_lag){.at = now};
  row->pending = pending;
  unlock(row);
}

void kin_reader_row_move(kin_reader_row *row, kin_time now) {
  lock(row);
  row->answered = false;
  row->newest = row->handed = (kin_lag){.at = now};
  unlock(row);
}

void kin_reader_row_pause(kin_reader_row *row) {
  lock(row);
  row->newest = *lag_of(row);
  unlock(row);
}

void kin_reader_row_note_answer(kin_reader_row *row, kin_lag lag, bool posted) {
  if (!lock_open(row))
    return;
  if (posted && row->pages++ == 0)
    row->handed = row->answered ? row->newest : lag;
  row->newest = lag;
  row->answered = row->metrics->answered = true;
  unlock(row);
}

void kin_reader_row_begin_page(kin_reader_row *row, kin_lag lag) {
  lock(row);
  row->handed = lag;
  unlock(row);
}

/* How much of a time lies before `end`, in microseconds. */
static kin_time before(kin_time from, kin_time to, kin_time end) {
  return to <= end ? to - from : end - from;
}

/* Spreads what was handed over evenly over the time that it took. */
static void add_to_slots(kin_reader_row *row, size_t records, size_t bytes, kin_time since,
                         kin_time now) {
  float whole = (float)(now - since + 1); /* a moment has a length, too */
  kin_time earliest = now - RATE_SECONDS * KIN_SECOND;
  kin_time from = since > earliest ? since : earliest, to = now + 1;
  while (from < to) {
    kin_time second = from / KIN_SECOND;
    slot *in = &row->slots[second % SLOTS];
    kin_time length = before(from, to, (second + 1) * KIN_SECOND);
    if (in->second != second)
      in->second = second, in->records = in->bytes = 0;
    in->records += (float)records * (float)length / whole;
    in->bytes += (float)bytes * (float)length / whole;
    from += length;
  }
}

void kin_reader_row_hand_over(kin_reader_row *row, size_t records, size_t bytes, kin_time since,
                              kin_time now, bool whole) {
  lock(row);
  if (row->first_handed == 0)
    row->first_handed = since;
  row->records += records;
  row->bytes += bytes;
  row->pages -= whole;
  add_to_slots(row, records, bytes, since, now);
  unlock(row);
}

void kin_reader_row_drop_page(kin_reader_row *row) {
  if (!lock_open(row))
    return;
  row->pages--;
  unlock(row);
}

void kin_reader_metrics_close(kin_reader_metrics *metrics, kin_time now) {
  pthread_mutex_lock(&metrics->lock);
  if (metrics->closed_at == 0)
    metrics->closed_at = now;
  pthread_mutex_unlock(&metrics->lock);
}

/* ---- reading ---- */

/* Seconds; negative: the shard does not count, because nothing is left to hand over of it. */
static double seconds_behind(const kin_reader_row *row, kin_time now) {
  const kin_lag *lag = lag_of(row);
  if (!row->pending && row->pages == 0)
    return -1;
  double since = now > lag->at ? (double)(now - lag->at) / (double)KIN_SECOND : 0;
  return since + (lag->millis > 0 ? lag->millis / 1000 : 0);
}

static void read_rates(const kin_reader_row *row, kin_time now, kin_reader_shard_figures *figures) {
  kin_time second = now / KIN_SECOND, window = RATE_SECONDS * KIN_SECOND;
  double records = 0, bytes = 0;
  for (int i = 0; i < SLOTS; i++) {
    const slot *in = &row->slots[i];
    kin_time age = second - in->second;
    if (age < 0 || age > RATE_SECONDS)
      continue;
    /* of the oldest second, what lies within the window */
    double part = age < RATE_SECONDS ? 1 : 1 - (double)(now % KIN_SECOND) / (double)KIN_SECOND;
    records += part * in->records;
    bytes += part * in->bytes;
  }
  kin_time age = row->first_handed == 0 ? window : now - row->first_handed;
  age = age > window ? window : age < KIN_SECOND ? KIN_SECOND : age;
  figures->records_per_second = records * (double)KIN_SECOND / (double)age;
  figures->bytes_per_second = bytes * (double)KIN_SECOND / (double)age;
}

static void read_row(const kin_reader_row *row, kin_time now, kin_reader_shard_figures *figures) {
  *figures = (kin_reader_shard_figures){
      .state = row->state,
      .millis_behind = row->answered ? lag_of(row)->millis : -1,
      .records = row->records,
      .bytes = row->bytes,
  };
  memcpy(figures->shard_id, row->shard_id, sizeof figures->shard_id);
  memcpy(figures->counts, row->counts, sizeof figures->counts);
  read_rates(row, now, figures);
}

kin_reader_figures kin_reader_metrics_read(kin_reader_metrics *metrics, kin_time now,
                                           kin_reader_shard_figures *shards, size_t capacity) {
  pthread_mutex_lock(&metrics->lock);
  kin_reader_figures figures = {.shards = metrics->count, .trimmed = metrics->trimmed};
  double lag = 0;
  size_t read = 0;
  if (metrics->closed_at > 0 && now > metrics->closed_at)
    now = metrics->closed_at;
  for (const kin_reader_row *row = metrics->rows; row; row = row->next) {
    double behind = seconds_behind(row, now);
    lag = behind > lag ? behind : lag;
    figures.records += row->records;
    figures.bytes += row->bytes;
    if (read < capacity)
      read_row(row, now, &shards[read++]);
  }
  figures.lag = metrics->answered ? lag : -1;
  pthread_mutex_unlock(&metrics->lock);
  return figures;
}
