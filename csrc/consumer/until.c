/* Where a shard ends by time, with the option until_timestamp: before its first record that arrived
 * later, or when its pages say that it is read past that time. */
#include "consumer/internal.h"

/* The service's clock is known by its header Date, which has whole seconds. */
static const double clock_error = 1;

/* Arrival times have milliseconds. */
static const double resolution = 0.0005;

/* Pages in a row that say so: one sign is not a fact. */
enum { PAST_PAGES = 2 };

static double service_time(kin_reader *reader) {
  return (double)kin_engine_wall(reader->machine.engine) / (double)KIN_SECOND - clock_error;
}

kin_time kin_until_pause(kin_reader *reader) {
  double left = reader->until - service_time(reader) + resolution;
  if (reader->until <= 0 || left * (double)KIN_SECOND > (double)reader->poll_interval)
    return reader->poll_interval;
  return left > 0 ? kin_seconds(left) : 0;
}

/* Whether records that come after the page arrived later. */
static bool is_past(kin_reader *reader, const kin_shard *shard) {
  const kin_page *page = &shard->source->page;
  double behind = page->millis_behind > 0 ? page->millis_behind / 1000 : 0;
  bool known = page->millis_behind > 0 || kin_tip_is_small(shard);
  /* it may have been on its way for long */
  double age = (double)(kin_reader_now(reader) - shard->source->asked_at) / (double)KIN_SECOND;
  return known && service_time(reader) - age - behind > reader->until;
}

static size_t count_in_time(const kin_reader *reader, const kin_page *page) {
  size_t count = 0;
  while (count < page->record_count &&
         page->records[count].arrival_timestamp < reader->until + resolution)
    count++;
  return count;
}

kin_until kin_until_note_page(kin_reader *reader, kin_shard *shard) {
  kin_page *page = &shard->source->page;
  if (reader->until <= 0)
    return KIN_UNTIL_READ_ON;
  size_t count = count_in_time(reader, page);
  if (count < page->record_count) {
    page->record_count = count;
    return KIN_UNTIL_CUT;
  }
  shard->past_pages = is_past(reader, shard) ? shard->past_pages + 1 : 0;
  /* a closed shard may have ended before: it is read to its end, and its children are read */
  bool closed = shard->known.closed || shard->node.children;
  return shard->past_pages >= PAST_PAGES && !closed ? KIN_UNTIL_PAST : KIN_UNTIL_READ_ON;
}

bool kin_until_lies_beyond(const kin_lineage_node *node) {
  for (int i = 0; i < 2 && !node->begun; i++) {
    kin_lineage_node *parent = node->parents[i].parent;
    if (parent && parent->state == KIN_SHARD_DONE && !kin_shard_of(parent)->ended)
      return true;
  }
  return false;
}
