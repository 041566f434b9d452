/* listing: asks ListShards for all shards of a reader's stream, page by page, when it is wanted.
 * One list at a time; a list that fails is asked for again. Part of a reader; engine thread. */
#ifndef KIN_CONSUMER_LISTING_H
#define KIN_CONSUMER_LISTING_H

#include "engine/engine.h"
#include "wire/list_shards.h"

typedef struct kin_listing {
  unsigned number;   /* of the list that was begun last; that which Lua has given is 1 */
  bool under_way;    /* until its last page is read */
  kin_time over_at;  /* monotonic: when the last list was complete; 0: none was */
  unsigned failures; /* in a row */
  kin_timer timer;   /* in the reader's heap: when the next call is due */
  kin_buf token;     /* of the next page; empty: the first */
  kin_list_pages pages;
  size_t fresh; /* shards of this page that were not listed on an earlier one */
} kin_listing;

void kin_listing_init(kin_listing *listing);
void kin_listing_free(kin_listing *listing);

/* The next call; the caller sends it. Begins a list when none is under way. NULL when memory is
 * out. */
kin_call *kin_listing_start(kin_listing *listing, kin_slice stream);

/* What an answer means. */
typedef enum {
  KIN_LISTING_COMPLETE,
  KIN_LISTING_MORE,   /* the next page is to be asked for at once */
  KIN_LISTING_FAILED, /* call->request.error says why; fatal ones, too */
} kin_listing_event;

/* Calls `each` for every shard of the page, which adds to `fresh`; false from it: memory is out,
 * and the error says so. */
kin_listing_event kin_listing_receive(kin_listing *listing, kin_call *call,
                                      bool (*each)(void *context, const kin_listed_shard *shard),
                                      void *context);

#endif
