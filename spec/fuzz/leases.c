/* Reads any text as a table of leases, and what follows a NUL as changes of a row: the table is
 * refused as a whole, or what is written for it reads the same, before and after the changes. */
#include "fuzz.h"
#include "lease/table.h"

static kin_buf write_table(const kin_lease_table *table) {
  kin_buf text;
  kin_buf_init(&text, KIN_LEASE_TABLE_MAX);
  kin_lease_table_write(table, kin_slice_of("counter"), &text);
  MUST(!text.failed);
  return text;
}

static void check_rows(const kin_lease_table *table) {
  for (size_t i = 0; i < table->count; i++) {
    const kin_lease_row *row = &table->rows[i];
    MUST(kin_lease_table_find(table, row->key) == row);
    for (size_t j = 0; j < row->count; j++)
      MUST(row->fields[j].value.len > 0 && !kin_slice_is(row->fields[j].value, "false"));
  }
}

/* What is written reads the same. */
static void check_back(const kin_lease_table *table) {
  kin_buf first = write_table(table), text = write_table(table), second;
  kin_lease_table again;
  kin_lease_table_init(&again);
  MUST(kin_lease_table_read(&again, &text) == KIN_LEASE_TABLE_GOOD);
  MUST(again.count == table->count);
  check_rows(&again);
  second = write_table(&again);
  MUST(first.len == second.len && memcmp(first.at, second.at, first.len) == 0);
  kin_lease_table_free(&again);
  kin_buf_free(&first);
  kin_buf_free(&second);
}

static void change(kin_lease_table *table, const uint8_t *data, size_t size) {
  kin_buf changes = fuzz_copy(data, size);
  kin_slice key = kin_slice_of("a row of its own");
  kin_lease_row *row = kin_lease_table_find(table, key);
  if (!row)
    row = table->count > 0 ? &table->rows[0] : kin_lease_table_add(table, key);
  MUST(row);
  if (kin_lease_row_set(row, &changes)) {
    check_rows(table);
    check_back(table);
  }
  kin_lease_table_remove(table, row);
  check_back(table);
  kin_buf_free(&changes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const uint8_t *nul = size > 0 ? memchr(data, '\0', size) : NULL;
  kin_buf text = fuzz_copy(data, nul ? (size_t)(nul - data) : size);
  kin_lease_table table;
  kin_lease_table_init(&table);
  if (kin_lease_table_read(&table, &text) == KIN_LEASE_TABLE_GOOD) {
    check_rows(&table);
    check_back(&table);
    if (nul)
      change(&table, nul + 1, size - (size_t)(nul + 1 - data));
  } else {
    MUST(table.count == 0 && table.text.len == 0);
  }
  kin_lease_table_free(&table);
  kin_buf_free(&text);
  return 0;
}
