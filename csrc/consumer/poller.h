/* poller: one shard read by GetRecords: its position, its iterator, and when it may be asked again.
 * Limits: 5 calls a second and 2 MB a second a shard.
 * https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html */
#ifndef KIN_CONSUMER_POLLER_H
#define KIN_CONSUMER_POLLER_H

#include "consumer/window.h"
#include "wire/get_records.h"

typedef struct kin_from {
  kin_from_kind kind;
  char sequence_number[KIN_SEQUENCE_NUMBER_MAX + 1];
  double timestamp; /* seconds since 1970 */
} kin_from;

typedef struct kin_shard {
  char id[KIN_SHARD_ID_MAX + 1];
  char parents[2][KIN_SHARD_ID_MAX + 1]; /* empty: none */
  enum {
    KIN_SHARD_WAITING, /* for its parents */
    KIN_SHARD_LOOKING, /* has no iterator */
    KIN_SHARD_READING, /* has one */
    KIN_SHARD_STARVED, /* has one, and the window is full */
    KIN_SHARD_DONE,
  } state;
  kin_from from; /* where a new iterator has to begin */
  char iterator[KIN_ITERATOR_MAX + 1];
  bool initial;      /* of the first shards, and has not had an iterator yet */
  bool in_flight;    /* one call at a time */
  unsigned failures; /* in a row */
  size_t reserve;    /* what the next page is thought to need */
  size_t reserved;   /* what is taken from the window for the page that is under way */
  kin_time asked;    /* when GetRecords last left */
  kin_timer timer;
  kin_page page; /* between a good answer and its way to Lua */
  struct kin_shard *next;
  struct kin_shard *next_starved;
} kin_shard;

/* NULL when memory is out. */
kin_shard *kin_shard_create(kin_slice id, const kin_from *from);
void kin_shard_free(kin_shard *shard);

/* The next call of this shard: GetShardIterator or GetRecords. NULL when memory is out. */
kin_call *kin_shard_call(kin_shard *shard, kin_slice stream);

/* Not before then may the shard be asked again, whatever came back. */
kin_time kin_shard_earliest(const kin_shard *shard);

/* After a good page: the position moves behind its last record, and the time is returned when the
 * shard may be asked again. `at_tip` is how long to leave it in peace when nothing is behind. */
kin_time kin_shard_advance(kin_shard *shard, kin_time at_tip);

#endif
