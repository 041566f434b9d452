/* shard: one shard of a reader: its place in the lineage, the source of its pages, and what the
 * reader has to know between two calls. Made by either thread; once the reader has it, owned by it
 * and touched by the engine thread only. */
#ifndef KIN_CONSUMER_SHARD_H
#define KIN_CONSUMER_SHARD_H

#include "base/timers.h"
#include "consumer/lineage.h"
#include "consumer/metrics.h"
#include "consumer/source.h"

/* What one sign has said about a shard, and the list of shards must confirm. */
typedef enum {
  KIN_QUESTION_NONE,
  KIN_QUESTION_PARENTS,  /* a parent is unknown: was it trimmed, or has it to be read? */
  KIN_QUESTION_END,      /* an answer had no iterator: was the shard read to its end? */
  KIN_QUESTION_GONE,     /* the service does not know the shard: was it trimmed? */
  KIN_QUESTION_CHILDREN, /* it was read to its end: which are its children? */
  KIN_QUESTION_UNTIL,    /* it is read past the time to read to: did it end before? */
} kin_question;

/* How far a shard is, as it counts for the reader's idle time. */
typedef enum {
  KIN_PACE_NONE, /* it is not read now */
  KIN_PACE_BEHIND,
  KIN_PACE_FAILING,
  KIN_PACE_AT_TIP,
} kin_pace;

/* What lists of shards, a position and its parents have said about a shard. */
typedef struct kin_shard_known {
  bool closed;    /* a list has its EndingSequenceNumber */
  bool unlisted;  /* the first list does not have it: only the position names it */
  bool read;      /* the position says that it was read to its end */
  bool has_range; /* of hash keys: from a list, or from the page of a parent */
  kin_hash_range range;
} kin_shard_known;

typedef struct kin_shard {
  kin_lineage_node node; /* first */
  kin_source *source;    /* owned; NULL: the shard is not read */
  kin_reader_row *row;   /* of the reader's metrics; NULL: the shard is not read */
  kin_timer timer;
  bool initial;           /* the reader is ready once this shard has a position */
  bool positioned;        /* the service has accepted a position of it */
  bool started;           /* and it is read */
  bool ended;             /* read to its end, not only to the tip, or to a time */
  bool by_time;           /* what is left of it, if anything, arrived after until_timestamp */
  unsigned failures;      /* in a row */
  size_t reserved;        /* bytes taken from the window for the page that is fetched next */
  kin_call *call;         /* in flight, for a page; NULL: none */
  bool calling;           /* a call of its source is in flight */
  bool discards;          /* that call's answer is void: the shard was moved since */
  bool paused;            /* by a command; of a shard that is not read now, too */
  bool moved;             /* in the list of those that a command has moved */
  bool rewound;           /* a command has a REWIND of it */
  bool pending;           /* as its row shows it */
  bool released;          /* from WAITING, since it was moved */
  kin_from released_from; /* where it began then */
  double latest_at;       /* seconds since 1970: what LATEST stands for */
  struct kin_reader *reader;
  kin_pace pace; /* set by set_pace only */
  kin_shard_known known;
  unsigned listed;     /* number of the last list that names it; 0: none */
  unsigned doubts;     /* pages without an iterator in a row that no second sign has confirmed */
  kin_time gone_since; /* monotonic: since then the service does not know it; 0: it does */
  unsigned
      contradictions; /* since the last page: the service does not know it, the list names it */
  unsigned zero_pages, near_pages; /* in a row: see note_page in tip.c */
  unsigned past_pages;             /* in a row: see kin_until_note_page */
  kin_time empty_since;            /* monotonic: since the first of the near pages */
  kin_question question;
  bool reported;        /* that the question has no answer */
  kin_time asked_at;    /* monotonic */
  unsigned list_needed; /* number of the first list that can answer */
  bool asked;           /* in the list of questions; without one when it has become void */
  struct kin_shard *next_question, *next_moved, *next_stalled;
  struct kin_shard *next_blocked, **blocked_link; /* BLOCKED: the pointer to it */
} kin_shard;

/* In state KIN_SHARD_WAITING, without parents. Without `from` it has no source, and is DONE. NULL
 * when memory is out. */
kin_shard *kin_shard_create(kin_slice id, const kin_from *from);

/* Before the shard is added to a reader. */
void kin_shard_set_known(kin_shard *shard, kin_shard_known known);

static inline void kin_shard_note_range(kin_shard *shard, const kin_hash_range *range) {
  shard->known.has_range = true;
  shard->known.range = *range;
}

void kin_shard_free(kin_shard *shard);

static inline kin_shard *kin_shard_of(kin_lineage_node *node) {
  return KIN_OWNER(node, kin_shard, node);
}

#endif
