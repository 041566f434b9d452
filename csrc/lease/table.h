/* table: leases as the file store keeps them, a JSON text:
 *
 *   {"version":1,"application":"counter","leases":{"shardId-…":{"owner":"…","counter":7,…},…}}
 *
 * Fields are kept as JSON and are not interpreted, but for `owner` and `counter`, the conditions of
 * an update: fields that this version does not know stay as they are. One thread. */
#ifndef KIN_LEASE_TABLE_H
#define KIN_LEASE_TABLE_H

#include "base/bytes.h"

enum { KIN_LEASE_TABLE_VERSION = 1, KIN_LEASE_TABLE_MAX = 64 << 20 /* bytes of a text */ };

typedef struct kin_lease_field {
  kin_slice name;
  kin_slice value; /* JSON */
} kin_lease_field;

typedef struct kin_lease_row {
  kin_slice key;
  kin_lease_field *fields;
  size_t count, capacity;
} kin_lease_row;

/* Slices of rows point into `text`, or into the changes of operations until the table is read
 * again. */
typedef struct kin_lease_table {
  kin_buf text;
  kin_slice application;
  kin_lease_row *rows; /* sorted by key */
  size_t count, capacity;
} kin_lease_table;

typedef enum {
  KIN_LEASE_TABLE_GOOD,
  KIN_LEASE_TABLE_BAD,   /* not a table of leases, or not all of it */
  KIN_LEASE_TABLE_NEWER, /* of a later version */
  KIN_LEASE_TABLE_NO_MEMORY,
} kin_lease_table_problem;

void kin_lease_table_init(kin_lease_table *table);
void kin_lease_table_free(kin_lease_table *table);

/* Takes the text and reads it; an empty one is a table without leases. After a problem the table is
 * empty. */
kin_lease_table_problem kin_lease_table_read(kin_lease_table *table, kin_buf *text);

/* NULL: there is none. */
kin_lease_row *kin_lease_table_find(const kin_lease_table *table, kin_slice key);

/* A new row without fields; the table has none of that key. NULL: out of memory. */
kin_lease_row *kin_lease_table_add(kin_lease_table *table, kin_slice key);
void kin_lease_table_remove(kin_lease_table *table, kin_lease_row *row);

/* The value of a field, empty when it is absent. */
kin_slice kin_lease_row_get(const kin_lease_row *row, const char *name);

/* Sets the fields of a JSON object, and removes those that are `false`. The text of the object is
 * decoded in place and must outlive the row. False: out of memory, or no object; the row may have
 * part of the changes. */
bool kin_lease_row_set(kin_lease_row *row, kin_buf *changes);

/* Append the whole table, the object of all leases, or the fields of one, as JSON. */
void kin_lease_table_write(const kin_lease_table *table, kin_slice application, kin_buf *out);
void kin_lease_table_write_leases(const kin_lease_table *table, kin_buf *out);
void kin_lease_row_write(const kin_lease_row *row, kin_buf *out);

#endif
