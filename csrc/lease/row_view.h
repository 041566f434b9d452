/* row_view: what the machine reads of a row, which is JSON. Any thread. */
#ifndef KIN_LEASE_ROW_VIEW_H
#define KIN_LEASE_ROW_VIEW_H

#include "base/bytes.h"

typedef struct kin_row_view {
  bool known; /* the row is there */
  bool ours;  /* this worker owns it */
  uint64_t counter;
  uint64_t wanted_by; /* hash of the worker that asks for it; 0: none */
} kin_row_view;

/* `owner`: this worker's id as JSON. The text of the row stays as it is. */
kin_row_view kin_row_view_of(const kin_buf *row, const char *owner);

/* Reads the value of `counter`, an integer up to 2^53; an editor may have written 7.0. False: it is
 * none. */
bool kin_row_view_counter(kin_slice json, uint64_t *counter);

#endif
