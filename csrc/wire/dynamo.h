/* dynamo: the requests and responses of DynamoDB for a table of leases. Any thread; no state.
 * https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Operations.html */
#ifndef KIN_WIRE_DYNAMO_H
#define KIN_WIRE_DYNAMO_H

#include "wire/dynamo_row.h"

/* ---- requests: they append; a failed buffer says that memory is out ---- */

/* `after`: where the last page has ended, as it was read; empty: the first page. */
void kin_dynamo_scan_build(kin_buf *out, const kin_dynamo_table *table, kin_slice after);

/* The rest return false when the key is of none of the table's streams, or a field cannot be
 * written. */
bool kin_dynamo_get_build(kin_buf *out, const kin_dynamo_table *table, kin_slice key);

/* Creates a complete row, if there is none. */
bool kin_dynamo_put_build(kin_buf *out, const kin_dynamo_table *table, kin_slice key,
                          kin_slice row);

/* Changes a row that has this counter and owner (JSON; empty: none). `false` removes a field. */
bool kin_dynamo_update_build(kin_buf *out, const kin_dynamo_table *table, kin_slice key,
                             kin_slice owner, uint64_t counter, kin_slice changes);

/* Deletes such a row. */
bool kin_dynamo_delete_build(kin_buf *out, const kin_dynamo_table *table, kin_slice key,
                             kin_slice owner, uint64_t counter);

/* ---- responses ---- */

/* Appends "key":{row} for every lease of the table's streams on this page, with commas. `after` is
 * empty on the last page; `fit` is that of an item that does not, if there is one. False:
 * malformed. */
bool kin_dynamo_scan_read(const kin_dynamo_table *table, kin_buf *response, kin_buf *out,
                          kin_slice *after, kin_dynamo_fit *fit);

/* Appends the row in the response's member ("Item", "Attributes"); nothing when there is none.
 * False: malformed. */
bool kin_dynamo_row_read(const kin_dynamo_table *table, kin_buf *response, const char *member,
                         kin_buf *out);

#endif
