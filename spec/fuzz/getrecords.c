/* Reads any response of GetRecords or GetShardIterator: a page is refused as a whole, or its slices
 * point into the response. */
#include "fuzz.h"
#include "wire/get_records.h"

static void check_page(const kin_page *page) {
  size_t bytes = 0;
  MUST(page->record_count <= KIN_PAGE_RECORDS_MAX && page->child_count <= KIN_PAGE_CHILDREN_MAX);
  fuzz_inside(page->next_iterator, &page->body);
  for (size_t i = 0; i < page->record_count; i++) {
    const kin_record *record = &page->records[i];
    const kin_slice all[] = {record->data, record->partition_key, record->sequence_number,
                             record->encryption_type};
    MUST(record->sequence_number.len > 0);
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
      fuzz_inside(all[k], &page->body);
      bytes += all[k].len;
    }
  }
  for (size_t i = 0; i < page->child_count; i++) {
    const kin_child_shard *child = &page->children[i];
    MUST(child->parent_count >= 0 && child->parent_count <= 2);
    fuzz_inside(child->id, &page->body);
    for (int k = 0; k < child->parent_count; k++)
      fuzz_inside(child->parents[k], &page->body);
  }
  MUST(bytes <= page->body.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  kin_buf body = fuzz_copy(data, size), other = fuzz_copy(data, size);
  kin_page page;
  kin_slice iterator = {0};
  bool out_of_memory;
  if (kin_get_records_read(&page, &body, &out_of_memory))
    check_page(&page);
  else
    MUST(!page.records && !page.children && !page.body.at && !out_of_memory);
  kin_page_free(&page);
  if (kin_get_shard_iterator_read(other.at, other.len, &iterator))
    fuzz_inside(iterator, &other);
  kin_buf_free(&body);
  kin_buf_free(&other);
  return 0;
}
