/* How near the end of a shard its pages say it is. */
#include "consumer/internal.h"

/* A page of fewer records and bytes is not one that the service has cut off. */
enum { SMALL_RECORDS = 1000, SMALL_BYTES = 1 << 20 };

#define NEAR_MILLIS 1000

/* A shard that is closed, or has children, takes no records; but the list that says so may be
 * early, and its last records late while its pages say that it is some milliseconds behind. */
static const kin_time closed_delay = 5 * KIN_SECOND;

/* Empty pages for so long, each some milliseconds behind, are the tip. */
static const kin_time near_for_ever = 10 * KIN_SECOND;

/* Some services say for ever that a shard is some milliseconds behind, or that they do not know. */
static bool is_near(const kin_page *page) {
  return page->record_count == 0 && page->millis_behind < NEAR_MILLIS;
}

bool kin_tip_is_small(const kin_shard *shard) {
  const kin_page *page = &shard->source->page;
  size_t limit = shard->source->asked_limit;
  size_t full = limit > 0 && limit < SMALL_RECORDS ? limit : SMALL_RECORDS;
  return page->record_count < full && page->body.len < SMALL_BYTES;
}

/* Some services say 0 on every page. */
static bool is_zero(const kin_shard *shard) {
  return shard->source->page.millis_behind == 0 && kin_tip_is_small(shard);
}

/* Whether the shard counts as behind for the reader's idle time. */
static bool is_behind(kin_reader *reader, const kin_shard *shard) {
  if (shard->source->page.millis_behind < 0)
    return shard->near_pages < 2;
  bool lies = shard->near_pages > 0 && kin_reader_now(reader) - shard->empty_since >= near_for_ever;
  return shard->source->page.millis_behind > 0 && !lies;
}

static bool is_tip(const kin_shard *shard) {
  const kin_page *page = &shard->source->page;
  return (page->record_count == 0 && page->millis_behind == 0) || shard->near_pages >= 2 ||
         shard->zero_pages >= 2;
}

void kin_tip_note_page(kin_reader *reader, kin_shard *shard) {
  const kin_page *page = &shard->source->page;
  if (!is_near(page))
    shard->near_pages = 0;
  else if (shard->near_pages++ == 0)
    shard->empty_since = kin_reader_now(reader);
  shard->zero_pages = is_zero(shard) ? shard->zero_pages + 1 : 0;
  kin_reader_set_pace(reader, shard, is_behind(reader, shard) ? KIN_PACE_BEHIND : KIN_PACE_AT_TIP);
}

bool kin_tip_is_reached(const kin_reader *reader, const kin_shard *shard) {
  const kin_page *page = &shard->source->page;
  if (!reader->stop_at_tip || shard->node.awaited_by > 0)
    return false;
  bool newer = page->record_count > 0 &&
               page->records[page->record_count - 1].arrival_timestamp > reader->start + 1;
  return newer || is_tip(shard);
}

bool kin_tip_is_silent_end(kin_reader *reader, const kin_shard *shard) {
  bool waited = kin_reader_now(reader) - shard->empty_since >= closed_delay;
  bool at_once = shard->known.closed && shard->zero_pages >= 2;
  bool at_last = waited && (shard->known.closed || shard->node.children);
  return shard->near_pages >= 2 && (at_once || at_last);
}
