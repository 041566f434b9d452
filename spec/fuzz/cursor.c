/* Walks a page of any records as the reader in Lua does, interrupted anywhere: the user records
 * come in order, each until it is delivered; the current record is the last delivered one; and the
 * metrics have what was delivered. Of what is misplaced all that was passed is counted, and dropped
 * if the cursor is told to.
 *
 * Input: how many user records of the first record were delivered before; how many steps there are,
 * a byte for each, and whether the shard has a range and what lies outside is dropped; and the data
 * of the records: a byte of length, and an odd one of these is framed as an aggregate. */
#include "consumer/cursor.h"
#include "fuzz.h"
#include "wire/base64.h"

enum { STEPS = 64, USERS = 1 << 16, BYTES_MAX = 1 << 20 };

static kin_md5 *md5;
static const kin_hash_range range = {{0, 0}, {UINT64_MAX / 2, UINT64_MAX}};
static struct user {
  kin_delivery delivery;
  bool misplaced, dropped;
} expected[USERS];
static size_t expected_count, first_count;

static void add_record(kin_buf *json, const uint8_t *data, size_t len, bool framed, size_t number) {
  char head[80];
  unsigned char digest[KIN_MD5];
  kin_slice message = {(const char *)data, len};
  kin_buf bytes;
  kin_buf_init(&bytes, BYTES_MAX);
  MUST(kin_md5_digest(md5, &message, 1, digest));
  if (framed)
    kin_buf_add(&bytes, "\xf3\x89\x9a\xc2", 4);
  kin_buf_add_slice(&bytes, message);
  if (framed)
    kin_buf_add(&bytes, digest, sizeof digest);
  snprintf(head, sizeof head, "%s{\"PartitionKey\":\"k\",\"SequenceNumber\":\"%zu\",\"Data\":\"",
           number > 1 ? "," : "", number);
  kin_buf_add_text(json, head);
  if (bytes.len > 0)
    kin_base64_add(json, kin_buf_slice(&bytes));
  kin_buf_add_text(json, "\"}");
  kin_buf_free(&bytes);
}

/* All user records of the page, by the reader of aggregates. */
static void expect(const kin_page *page, bool judged, bool drops) {
  expected_count = first_count = 0;
  for (size_t i = 0; i < page->record_count; i++) {
    kin_aggregate_reader reader;
    bool out_of_memory;
    kin_delivery each = kin_delivery_of(&page->records[i]);
    bool whole = !kin_aggregate_open(&reader, md5, page->records[i].data, &out_of_memory);
    size_t count = whole || reader.count == 0 ? 1 : reader.count;
    each.aggregated = !whole && reader.count > 0;
    for (each.sub = 0; each.sub < count; each.sub++) {
      if (each.aggregated)
        MUST(kin_aggregate_next(&reader, &each.user));
      bool misplaced =
          each.aggregated && judged && kin_aggregate_is_outside(&reader, &each.user, md5, &range);
      MUST(expected_count < USERS);
      expected[expected_count++] = (struct user){each, misplaced, misplaced && drops};
    }
    if (!whole)
      kin_aggregate_close(&reader);
    if (i == 0)
      first_count = count;
  }
}

static bool same(const kin_delivery *one, const kin_delivery *other) {
  return one->record == other->record && one->sub == other->sub &&
         one->aggregated == other->aggregated && one->user.data.at == other->user.data.at &&
         one->user.data.len == other->user.data.len &&
         one->user.partition_key.at == other->user.partition_key.at &&
         one->user.partition_key.len == other->user.partition_key.len;
}

/* `delivered`: how many of the expected ones, those that are dropped included. */
static void check_current(const kin_cursor *cursor, bool unseen, size_t delivered, size_t before) {
  size_t sub;
  const kin_record *record = kin_cursor_current(cursor, unseen, &sub);
  if (delivered == 0) {
    MUST(!record);
  } else {
    const kin_delivery *last = &expected[delivered - 1].delivery;
    bool next_is_of_it =
        delivered < expected_count && expected[delivered].delivery.record == last->record;
    MUST(record == last->record);
    MUST(sub == (next_is_of_it                    ? last->sub + 1
                 : delivered == before && sub > 0 ? sub /* more than it has were delivered before */
                                                  : 0));
  }
}

static size_t pass_dropped(size_t at) {
  while (at < expected_count && expected[at].dropped)
    at++;
  return at;
}

/* Returns how many user records were delivered. */
static size_t walk(kin_cursor *cursor, const uint8_t *steps, size_t count, size_t before) {
  size_t delivered = before < first_count ? before : first_count, start = delivered;
  for (size_t i = 0; i < count; i++) {
    size_t at = delivered, records = kin_cursor_begin(cursor), previous = delivered;
    MUST(at == expected_count || records > 0);
    for (unsigned n = 0; n < (steps[i] & 15U); n++) {
      kin_delivery delivery;
      kin_cursor_step step = kin_cursor_next(cursor, &delivery);
      at = pass_dropped(at);
      MUST(step == (at < expected_count ? KIN_CURSOR_DELIVERY : KIN_CURSOR_END));
      if (step == KIN_CURSOR_DELIVERY)
        MUST(same(&delivery, &expected[at++].delivery));
    }
    if (at > delivered && (steps[i] & 16)) {
      kin_cursor_deliver(cursor);
      delivered = at;
      check_current(cursor, true, previous, start);
      if (steps[i] & 32) {
        kin_cursor_take_back(cursor);
        delivered = previous;
      }
    }
    check_current(cursor, false, delivered, start);
  }
  size_t misplaced = 0, returned = 0;
  for (size_t i = start; i < delivered; i++) {
    misplaced += expected[i].misplaced;
    returned += !expected[i].dropped;
  }
  MUST(kin_cursor_misplaced(cursor, false) == misplaced);
  return returned;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (!md5)
    md5 = kin_md5_create();
  if (size < 2)
    return 0;
  size_t before = data[0], steps = data[1] % STEPS, at = 2 + steps, number = 0;
  kin_buf json;
  kin_buf_init(&json, BYTES_MAX);
  kin_buf_add_text(&json, "{\"Records\":[");
  while (at < size && number < KIN_PAGE_RECORDS_MAX) {
    size_t len = data[at], left = size - at - 1;
    bool framed = len & 1;
    len = len > left ? left : len;
    add_record(&json, data + at + 1, len, framed, ++number);
    at += 1 + len;
  }
  kin_buf_add_text(&json, "],\"NextShardIterator\":\"x\",\"MillisBehindLatest\":0}");
  if (number > 0 && at >= 2 + steps && !json.failed) {
    kin_page page;
    bool out_of_memory;
    kin_window *window = kin_window_create(NULL, 1, BYTES_MAX, NULL);
    MUST(window && kin_get_records_read(&page, &json, &out_of_memory));
    kin_page_message *message = kin_page_message_create(1, "shard", &page, window, 0);
    kin_reader_metrics *metrics = kin_reader_metrics_create();
    kin_cursor cursor;
    MUST(message && metrics);
    kin_reader_row *row = kin_reader_metrics_add(metrics, "shard", KIN_SHARD_READING);
    MUST(row);
    kin_page_message_enter(message, row, (kin_lag){0});
    message->delivered = before;
    message->has_range = data[1] & 64;
    message->range = range;
    kin_cursor_init(&cursor, kin_md5_create());
    cursor.drops_misplaced = data[1] & 128;
    expect(&message->page, message->has_range, cursor.drops_misplaced);
    kin_cursor_open(&cursor, message);
    size_t delivered = walk(&cursor, data + 2, steps, before);
    kin_cursor_free(&cursor);
    MUST(kin_reader_metrics_read(metrics, kin_monotonic(), NULL, 0).records == delivered);
    kin_reader_metrics_release(metrics);
    kin_window_release(window);
  }
  kin_buf_free(&json);
  return 0;
}
