#include "lease/table.h"

#include <stdlib.h>

#include "wire/json.h"

void kin_lease_table_init(kin_lease_table *table) {
  *table = (kin_lease_table){0};
  kin_buf_init(&table->text, KIN_LEASE_TABLE_MAX);
}

void kin_lease_table_free(kin_lease_table *table) {
  for (size_t i = 0; i < table->count; i++)
    free(table->rows[i].fields);
  free(table->rows);
  kin_buf_free(&table->text);
  kin_lease_table_init(table);
}

/* ---- rows ---- */

/* The index of the first row whose key is not below this one. */
static size_t place_of(const kin_lease_table *table, kin_slice key) {
  size_t low = 0, high = table->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (kin_slice_compare(table->rows[middle].key, key) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

kin_lease_row *kin_lease_table_find(const kin_lease_table *table, kin_slice key) {
  size_t place = place_of(table, key);
  bool found = place < table->count && kin_slice_compare(table->rows[place].key, key) == 0;
  return found ? &table->rows[place] : NULL;
}

/* Space for one more item of an array; NULL, and the array is as before: out of memory. */
static void *grow(void *items, size_t count, size_t *capacity, size_t size) {
  if (count < *capacity)
    return items;
  size_t more = *capacity ? 2 * *capacity : 8;
  void *moved = realloc(items, more * size);
  if (moved)
    *capacity = more;
  return moved;
}

kin_lease_row *kin_lease_table_add(kin_lease_table *table, kin_slice key) {
  kin_lease_row *rows = grow(table->rows, table->count, &table->capacity, sizeof *rows);
  if (!rows)
    return NULL;
  table->rows = rows;
  size_t place = place_of(table, key);
  memmove(rows + place + 1, rows + place, (table->count - place) * sizeof *rows);
  table->count++;
  rows[place] = (kin_lease_row){.key = key};
  return &rows[place];
}

void kin_lease_table_remove(kin_lease_table *table, kin_lease_row *row) {
  free(row->fields);
  table->count--;
  memmove(row, row + 1, (size_t)(table->rows + table->count - row) * sizeof *row);
}

static kin_lease_field *find_field(const kin_lease_row *row, kin_slice name) {
  for (size_t i = 0; i < row->count; i++)
    if (kin_slice_compare(row->fields[i].name, name) == 0)
      return &row->fields[i];
  return NULL;
}

kin_slice kin_lease_row_get(const kin_lease_row *row, const char *name) {
  const kin_lease_field *field = find_field(row, kin_slice_of(name));
  return field ? field->value : (kin_slice){0};
}

static bool set_field(kin_lease_row *row, kin_slice name, kin_slice value) {
  kin_lease_field *field = find_field(row, name);
  if (kin_slice_is(value, "false")) {
    if (field)
      *field = row->fields[--row->count];
    return true;
  }
  if (!field) {
    kin_lease_field *fields = grow(row->fields, row->count, &row->capacity, sizeof *fields);
    if (!fields)
      return false;
    row->fields = fields;
    field = &fields[row->count++];
  }
  *field = (kin_lease_field){name, value};
  return true;
}

/* ---- reading ---- */

/* Reads an object into the row. False: out of memory, or json->bad. */
static bool take_fields(kin_json *json, kin_lease_row *row) {
  kin_slice name, value;
  if (!kin_json_object(json))
    return false;
  while (kin_json_key(json, &name))
    if (!kin_json_raw(json, &value) || !set_field(row, name, value))
      return false;
  return !json->bad;
}

bool kin_lease_row_set(kin_lease_row *row, kin_buf *changes) {
  kin_json json;
  kin_json_init(&json, changes->at, changes->len);
  return take_fields(&json, row) && kin_json_done(&json);
}

static bool take_leases(kin_json *json, kin_lease_table *table) {
  kin_slice key;
  if (!kin_json_object(json))
    return false;
  while (kin_json_key(json, &key)) {
    kin_lease_row *row = kin_lease_table_find(table, key);
    if (!row)
      row = kin_lease_table_add(table, key);
    if (!row || !take_fields(json, row))
      return false;
  }
  return !json->bad;
}

/* Reads one member of the text. False: see take_fields. */
static bool take_member(kin_json *json, kin_slice name, kin_lease_table *table, double *version) {
  if (kin_slice_is(name, "version"))
    return kin_json_number(json, version);
  if (kin_slice_is(name, "application"))
    return kin_json_string(json, &table->application);
  return kin_slice_is(name, "leases") ? take_leases(json, table) : kin_json_skip(json);
}

static kin_lease_table_problem read_text(kin_lease_table *table) {
  kin_json json;
  kin_slice name;
  double version = 0;
  bool good = true;
  kin_json_init(&json, table->text.at, table->text.len);
  if (!kin_json_object(&json))
    return KIN_LEASE_TABLE_BAD;
  while (good && version <= KIN_LEASE_TABLE_VERSION && kin_json_key(&json, &name))
    good = take_member(&json, name, table, &version);
  if (version > KIN_LEASE_TABLE_VERSION)
    return KIN_LEASE_TABLE_NEWER;
  if (!good && !json.bad)
    return KIN_LEASE_TABLE_NO_MEMORY;
  return version >= 1 && kin_json_done(&json) ? KIN_LEASE_TABLE_GOOD : KIN_LEASE_TABLE_BAD;
}

kin_lease_table_problem kin_lease_table_read(kin_lease_table *table, kin_buf *text) {
  kin_lease_table_free(table);
  table->text = *text;
  *text = (kin_buf){0};
  if (table->text.len == 0)
    return KIN_LEASE_TABLE_GOOD;
  kin_lease_table_problem problem = read_text(table);
  if (problem != KIN_LEASE_TABLE_GOOD)
    kin_lease_table_free(table);
  return problem;
}

/* ---- writing ---- */

static void add_name(kin_slice name, bool first, kin_buf *out) {
  if (!first)
    kin_buf_add_text(out, ",");
  kin_json_add_string(out, name);
  kin_buf_add_text(out, ":");
}

void kin_lease_row_write(const kin_lease_row *row, kin_buf *out) {
  kin_buf_add_text(out, "{");
  for (size_t i = 0; i < row->count; i++) {
    add_name(row->fields[i].name, i == 0, out);
    kin_buf_add_slice(out, row->fields[i].value);
  }
  kin_buf_add_text(out, "}");
}

void kin_lease_table_write_leases(const kin_lease_table *table, kin_buf *out) {
  kin_buf_add_text(out, "{");
  for (size_t i = 0; i < table->count; i++) {
    add_name(table->rows[i].key, i == 0, out);
    kin_lease_row_write(&table->rows[i], out);
  }
  kin_buf_add_text(out, "}");
}

void kin_lease_table_write(const kin_lease_table *table, kin_slice application, kin_buf *out) {
  kin_buf_add_text(out, "{\"version\":1,\"application\":");
  kin_json_add_string(out, application);
  kin_buf_add_text(out, ",\"leases\":");
  kin_lease_table_write_leases(table, out);
  kin_buf_add_text(out, "}\n");
}
