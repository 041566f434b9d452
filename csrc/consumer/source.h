/* source: fetches the pages of one shard, in order, from a position that it moves itself. `poller`
 * does it by GetRecords; a source by SubscribeToShard (engine/subscription.h) would be a second one
 * beside it, and would need KIN_MESSAGE_STREAMED to be passed to it by reader.c. The reader decides
 * when a source may start; the source decides which call is next and what its answer means. Owned
 * by a shard; engine thread, but for creation. */
#ifndef KIN_CONSUMER_SOURCE_H
#define KIN_CONSUMER_SOURCE_H

#include "engine/engine.h"
#include "wire/get_records.h"

/* The least that is reserved for a page. */
enum { KIN_PAGE_BYTES_LEAST = 64 << 10 };

typedef struct kin_from {
  kin_from_kind kind;
  char sequence_number[132];
  size_t delivered; /* AT: user records of that record that were delivered before */
  double timestamp; /* seconds since 1970 */
} kin_from;

/* What an answer means. */
typedef enum {
  KIN_SOURCE_POSITIONED, /* the service has accepted the position `from` */
  KIN_SOURCE_PAGE,       /* `page` is filled */
  KIN_SOURCE_END,        /* nothing seems to be left to read; no page */
  KIN_SOURCE_LOST,       /* the service has forgotten the position; the source starts at `from` */
  KIN_SOURCE_GONE,       /* the service does not know the shard; the source starts at `from` */
  KIN_SOURCE_FULL,       /* the window had no space for the answer; it is asked for again */
  KIN_SOURCE_FAILED,     /* call->request.error says why */
} kin_source_event;

typedef struct kin_source kin_source;

typedef struct kin_source_vtable {
  /* The next start is at `from`, which the caller may have changed. */
  void (*restart)(kin_source *source);
  /* Bytes that the caller reserves before `start`; 0: the next answer brings no records. */
  size_t (*needs)(const kin_source *source);
  /* The time before which the service's limits forbid the next start. Monotonic. */
  kin_time (*due)(const kin_source *source);
  /* The next call, with the source as its context; the caller sends it now, one at a time. It
   * brings no records, whatever `needs` was, when the source's position has become too old. NULL
   * when memory is out. */
  kin_call *(*start)(kin_source *source, kin_time now, kin_slice stream, kin_slice shard_id);
  /* What the answer of the call means. The caller frees the call. */
  kin_source_event (*receive)(kin_source *source, kin_call *call);
  /* After KIN_SOURCE_PAGE, before the page is taken away: moves the position behind its last
   * record. Returns when the next start is due; `at_tip` is the pause when nothing is behind. */
  kin_time (*advance)(kin_source *source, kin_time at_tip);
  void (*free)(kin_source *source);
} kin_source_vtable;

struct kin_source {
  const kin_source_vtable *vtable;
  struct kin_shard *shard; /* which owns the source */
  kin_from from;           /* where reading starts after the position was lost */
  unsigned page_limit;     /* most records of a page; 0: as many as the service gives */
  size_t fit_bytes;        /* the space for the next page, which is to have no more than is reserved
                            * for it; 0: no matter */
  unsigned asked_limit;    /* as page_limit, of the page that was asked for last */
  kin_page page;           /* between a good answer and its message to Lua */
  kin_time asked_at;       /* when the page was asked for; monotonic */
  bool waited;             /* it has waited for space on its way, however long */
  size_t delivered;        /* user records of the page's first record that were delivered before */
  bool at_end; /* the last page seems to be the shard's last; a start begins at `from` */
};

#endif
