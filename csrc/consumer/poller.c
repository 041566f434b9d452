#include "consumer/poller.h"

#include <stdlib.h>

enum {
  ITERATOR_MAX = 1024,
  UNKNOWN_PAGE_BYTES = 1 << 20,
  PAGE_RECORDS_MAX = 10000, /* of the service */
  BYTES_PER_SECOND = 2000000,
  PAGES_PER_SECOND = 5,
};

static const kin_time between_calls = KIN_SECOND / PAGES_PER_SECOND;

/* The service forgets an iterator after five minutes. One may be so old because the window was
 * full. */
static const kin_time iterator_life = 270 * KIN_SECOND;

typedef struct poller {
  kin_source source;               /* first */
  char iterator[ITERATOR_MAX + 1]; /* empty: GetShardIterator comes next */
  kin_time iterator_at;            /* when it was asked for; monotonic */
  size_t page_bytes;   /* estimate of the next page. Unless that has to fit it is no bound: a record
                        * may have 10 MiB */
  size_t record_bytes; /* of each record of the last page that had some; 0: there was none */
  kin_time pause;      /* from the last GetRecords to the next one, at least */
} poller;

static bool read_iterator(kin_call *call) {
  poller *p = call->request.context;
  kin_buf *answer = &call->request.exchange.answer;
  kin_slice iterator;
  if (!kin_get_shard_iterator_read(answer->at, answer->len, &iterator) ||
      iterator.len > ITERATOR_MAX)
    return false;
  kin_slice_copy(iterator, p->iterator, sizeof p->iterator);
  p->iterator_at = call->request.started_at;
  return true;
}

static bool read_page(kin_call *call) {
  poller *p = call->request.context;
  return kin_get_records_read(&p->source.page, &call->request.exchange.answer,
                              &call->out_of_memory) &&
         p->source.page.next_iterator.len <= ITERATOR_MAX;
}

static void restart(kin_source *source) {
  ((poller *)source)->iterator[0] = '\0';
  source->at_end = false;
}

/* The most that is reserved for a page that has to fit: half of the space, so that a second one is
 * fetched while it is read; but no less than the rate of the service takes. */
static size_t fitting(size_t space) {
  const size_t full = BYTES_PER_SECOND / PAGES_PER_SECOND * 8 / 5; /* base64, keys, numbers */
  size_t most = space / 2 > full ? space / 2 : full;
  return most < space ? most : space;
}

/* How large the next page is to be. The first one that has to fit has one record, which shows how
 * many fit the next one. */
static size_t next_bytes(const poller *p) {
  if (p->source.fit_bytes == 0)
    return p->page_bytes;
  size_t most = p->record_bytes > 0 ? fitting(p->source.fit_bytes) : KIN_PAGE_BYTES_LEAST;
  return p->page_bytes < most ? p->page_bytes : most;
}

static size_t needs(const kin_source *source) {
  const poller *p = (const poller *)source;
  return p->iterator[0] == '\0' ? 0 : next_bytes(p);
}

static kin_time due(const kin_source *source) {
  const poller *p = (const poller *)source;
  return p->source.asked_at + (p->pause > between_calls ? p->pause : between_calls);
}

/* The service's pause after a body of so many bytes: its limit counts them before base64, which
 * makes four of three. */
static kin_time pause_after(size_t body) {
  return (kin_time)body * 3 / 4 * KIN_SECOND / BYTES_PER_SECOND;
}

/* An answer that did not come to its end: the next one is as large. */
static void note_lost(poller *p, size_t bytes) {
  if (bytes > p->page_bytes)
    p->page_bytes = bytes;
  p->pause = pause_after(bytes);
}

static size_t most_records(const kin_source *source) {
  return source->page_limit > 0 ? source->page_limit : PAGE_RECORDS_MAX;
}

static unsigned limit_of(const poller *p) {
  const kin_source *source = &p->source;
  size_t limit = most_records(source);
  if (source->fit_bytes == 0)
    return source->page_limit;
  size_t fit = p->record_bytes > 0 ? next_bytes(p) / p->record_bytes : 1;
  return (unsigned)(fit == 0 ? 1 : fit < limit ? fit : limit);
}

static kin_call *start(kin_source *source, kin_time now, kin_slice stream, kin_slice shard_id) {
  poller *p = (poller *)source;
  const kin_from *from = &source->from;
  if (now - p->iterator_at >= iterator_life)
    p->iterator[0] = '\0';
  bool positioned = p->iterator[0] != '\0';
  kin_call *call = kin_call_create(positioned ? "GetRecords" : "GetShardIterator", 1);
  if (!call)
    return NULL;
  call->request.context = p;
  call->read = positioned ? read_page : read_iterator;
  if (positioned) {
    source->asked_limit = limit_of(p);
    kin_get_records_build(&call->request.body, stream, kin_slice_of(p->iterator),
                          source->asked_limit);
  } else {
    kin_get_shard_iterator_build(&call->request.body, stream, shard_id, from->kind,
                                 kin_slice_of(from->sequence_number), from->timestamp);
  }
  if (!call->request.body.failed)
    return call;
  kin_message_free(&call->request.message);
  return NULL;
}

static kin_source_event receive(kin_source *source, kin_call *call) {
  poller *p = (poller *)source;
  const kin_error *error = &call->request.error;
  bool expired = strcmp(error->code, "ExpiredIteratorException") == 0;
  bool gone = strcmp(error->code, "ResourceNotFoundException") == 0;
  bool full = strcmp(error->code, KIN_CODE_FULL) == 0;
  if (call->read == read_iterator) {
    if (error->class != KIN_OK)
      return gone ? KIN_SOURCE_GONE : KIN_SOURCE_FAILED;
    /* no iterator is given for a closed shard whose records have all expired */
    return p->iterator[0] == '\0' ? KIN_SOURCE_END : KIN_SOURCE_POSITIONED;
  }
  p->source.asked_at = call->request.started_at;
  p->pause = 0;
  source->waited = call->request.exchange.waited;
  if (error->class == KIN_OK)
    return KIN_SOURCE_PAGE;
  kin_page_free(&source->page);
  note_lost(p, call->request.exchange.wanted);
  if (expired || gone)
    p->iterator[0] = '\0';
  return expired ? KIN_SOURCE_LOST
         : gone  ? KIN_SOURCE_GONE
         : full  ? KIN_SOURCE_FULL
                 : KIN_SOURCE_FAILED;
}

/* The user records of the page's first record that were delivered before. */
static size_t delivered_before(const kin_source *source) {
  const kin_page *page = &source->page;
  const kin_from *from = &source->from;
  bool same = from->delivered > 0 && page->record_count > 0 &&
              kin_slice_is(page->records[0].sequence_number, from->sequence_number);
  return same ? from->delivered : 0;
}

/* Whether the page has as many records as it was to have, because of its bytes. */
static bool is_cut_to_fit(const kin_source *source) {
  return source->fit_bytes > 0 && source->page.record_count >= source->asked_limit &&
         source->asked_limit < most_records(source);
}

static kin_time advance(kin_source *source, kin_time at_tip) {
  poller *p = (poller *)source;
  const kin_page *page = &source->page;
  kin_slice_copy(page->next_iterator, p->iterator, sizeof p->iterator);
  p->iterator_at = p->source.asked_at;
  source->at_end = page->next_iterator.len == 0;
  source->delivered = delivered_before(source);
  if (page->record_count > 0) {
    const kin_record *last = &page->records[page->record_count - 1];
    source->from.kind = KIN_FROM_AFTER;
    source->from.delivered = 0;
    kin_slice_copy(last->sequence_number, source->from.sequence_number,
                   sizeof source->from.sequence_number);
    p->page_bytes = page->body.capacity + page->record_count * sizeof(kin_record);
    p->record_bytes = page->body.len / page->record_count + sizeof(kin_record);
    if (is_cut_to_fit(source))
      p->page_bytes = UNKNOWN_PAGE_BYTES; /* there is more */
  } else {
    p->page_bytes /= 2; /* a quiet shard must not keep the window from the others */
  }
  if (p->page_bytes < KIN_PAGE_BYTES_LEAST)
    p->page_bytes = KIN_PAGE_BYTES_LEAST;
  kin_time by_bytes = pause_after(page->body.len);
  kin_time pause = page->millis_behind > 0 || at_tip < between_calls ? between_calls : at_tip;
  return p->source.asked_at + (pause > by_bytes ? pause : by_bytes);
}

static void free_poller(kin_source *source) {
  kin_page_free(&source->page);
  free(source);
}

kin_source *kin_poller_create(const kin_from *from) {
  static const kin_source_vtable vtable = {restart, needs,   due,        start,
                                           receive, advance, free_poller};
  poller *p = calloc(1, sizeof *p);
  if (!p)
    return NULL;
  p->source.vtable = &vtable;
  p->source.from = *from;
  p->page_bytes = UNKNOWN_PAGE_BYTES;
  return &p->source;
}
