#include "lease/row_view.h"

#include "lease/op.h"
#include "wire/json.h"

bool kin_row_view_counter(kin_slice json, uint64_t *counter) {
  kin_json value;
  double number;
  kin_json_init(&value, (char *)json.at, json.len); /* numbers are not decoded in place */
  if (kin_json_peek(&value) != KIN_JSON_NUMBER || !kin_json_number(&value, &number) ||
      !(number >= 0 && number <= (double)KIN_LEASE_COUNTER_MAX))
    return false;
  *counter = (uint64_t)number;
  return (double)*counter == number;
}

kin_row_view kin_row_view_of(const kin_buf *row, const char *owner) {
  kin_row_view found = {0};
  kin_json json;
  kin_slice name, value;
  kin_json_init(&json, row->at, row->len);
  json.raw = true; /* Lua reads the row, too */
  if (row->len == 0 || !kin_json_object(&json))
    return found;
  while (kin_json_key(&json, &name) && kin_json_raw(&json, &value)) {
    if (kin_slice_is(name, "owner"))
      found.ours = kin_slice_is(value, owner);
    else if (kin_slice_is(name, "counter"))
      kin_row_view_counter(value, &found.counter);
    else if (kin_slice_is(name, "wanted_by") && !kin_slice_is(value, "null"))
      found.wanted_by = kin_slice_hash(value);
  }
  found.known = !json.bad;
  return found;
}
