#include "wire/attribute.h"

#define TAG "dynamodb"

/* ---- JSON as it is written ---- */

kin_json kin_json_look(kin_slice text) {
  kin_json json;
  kin_json_init(&json, (char *)text.at, text.len);
  json.raw = true;
  return json;
}

/* What stands between the quotes of a string; others: empty. */
kin_slice kin_json_inside(kin_slice value) {
  bool is_text = value.len >= 2 && value.at[0] == '"';
  return is_text ? (kin_slice){value.at + 1, value.len - 2} : (kin_slice){0};
}

bool kin_json_is_number(kin_slice text) {
  kin_json json = kin_json_look(text);
  double number;
  return kin_json_peek(&json) == KIN_JSON_NUMBER && kin_json_number(&json, &number) &&
         kin_json_done(&json);
}

void kin_json_add_comma(kin_buf *out) {
  char last = out->len > 0 ? out->at[out->len - 1] : '{';
  kin_buf_add_text(out, last == '{' || last == '[' ? "" : ",");
}

/* "TEXT" of what is JSON already. */
void kin_json_add_quoted(kin_buf *out, kin_slice text) {
  kin_buf_add_text(out, "\"");
  kin_buf_add_slice(out, text);
  kin_buf_add_text(out, "\"");
}

void kin_json_add_raw_name(kin_buf *out, kin_slice name) {
  kin_json_add_comma(out);
  kin_json_add_quoted(out, name);
  kin_buf_add_text(out, ":");
}

/* {"TYPE":VALUE} */
void kin_attribute_add_typed(kin_buf *out, const char *type, kin_slice value) {
  kin_buf_add_text(out, "{");
  kin_json_add_raw_name(out, kin_slice_of(type));
  kin_buf_add_slice(out, value);
  kin_buf_add_text(out, "}");
}

void kin_attribute_add_number(kin_buf *out, kin_slice digits) {
  kin_buf_add_text(out, "{\"N\":");
  kin_json_add_quoted(out, digits);
  kin_buf_add_text(out, "}");
}

/* ---- values ---- */

/* Reads {"TYPE":VALUE}. */
bool kin_attribute_read(kin_json *json, kin_slice *type, kin_slice *value) {
  kin_slice more;
  if (!kin_json_object(json) || !kin_json_key(json, type) || !kin_json_raw(json, value) ||
      kin_json_key(json, &more))
    return json->bad = true, false;
  return !json->bad;
}

static bool add_plain_list(kin_buf *out, kin_json *json) {
  kin_slice item;
  kin_buf_add_text(out, "[");
  for (kin_json_array(json); kin_json_item(json);) {
    kin_json_add_comma(out);
    if (!kin_json_raw(json, &item) || !kin_attribute_add_plain(out, item))
      return false;
  }
  kin_buf_add_text(out, "]");
  return !json->bad;
}

static bool add_plain_map(kin_buf *out, kin_json *json) {
  kin_slice name, item;
  kin_buf_add_text(out, "{");
  for (kin_json_object(json); kin_json_key(json, &name);) {
    kin_json_add_raw_name(out, name);
    if (!kin_json_raw(json, &item) || !kin_attribute_add_plain(out, item))
      return false;
  }
  kin_buf_add_text(out, "}");
  return !json->bad;
}

/* Whether an object has the mark of what JSON does not have. */
static bool is_tagged(kin_slice value, kin_slice *typed) {
  kin_json json = kin_json_look(value);
  kin_slice name;
  return kin_json_peek(&json) == KIN_JSON_OBJECT && kin_json_object(&json) &&
         kin_json_key(&json, &name) && kin_slice_is(name, TAG) && kin_json_raw(&json, typed);
}

/* Appends an attribute's value as JSON. False: it is none. The text is well-formed: its depth is
 * bounded. */
bool kin_attribute_add_plain(kin_buf *out, kin_slice typed) {
  kin_json json = kin_json_look(typed);
  kin_slice type, value, unused;
  if (!kin_attribute_read(&json, &type, &value))
    return false;
  json = kin_json_look(value);
  kin_json_kind kind = kin_json_peek(&json);
  bool is_bool = kind == KIN_JSON_TRUE || kind == KIN_JSON_FALSE;
  if ((kin_slice_is(type, "S") && kind == KIN_JSON_STRING) ||
      (kin_slice_is(type, "BOOL") && is_bool))
    kin_buf_add_slice(out, value);
  else if (kin_slice_is(type, "N") && kin_json_is_number(kin_json_inside(value)))
    kin_buf_add_slice(out, kin_json_inside(value));
  else if (kin_slice_is(type, "L") && kind == KIN_JSON_ARRAY)
    return add_plain_list(out, &json);
  else if (kin_slice_is(type, "M") && kind == KIN_JSON_OBJECT && !is_tagged(value, &unused))
    return add_plain_map(out, &json);
  else
    kin_attribute_add_typed(out, TAG, typed);
  return true;
}

static bool add_attribute_list(kin_buf *out, kin_json *json) {
  kin_slice item;
  kin_buf_add_text(out, "{\"L\":[");
  for (kin_json_array(json); kin_json_item(json);) {
    kin_json_add_comma(out);
    if (!kin_json_raw(json, &item) || !kin_attribute_add(out, item))
      return false;
  }
  kin_buf_add_text(out, "]}");
  return !json->bad;
}

static bool add_attribute_map(kin_buf *out, kin_json *json) {
  kin_slice name, item;
  kin_buf_add_text(out, "{\"M\":{");
  for (kin_json_object(json); kin_json_key(json, &name);) {
    kin_json_add_raw_name(out, name);
    if (!kin_json_raw(json, &item) || !kin_attribute_add(out, item))
      return false;
  }
  kin_buf_add_text(out, "}}");
  return !json->bad;
}

/* Appends JSON as an attribute's value; the counterpart of add_plain. */
bool kin_attribute_add(kin_buf *out, kin_slice value) {
  kin_json json = kin_json_look(value);
  kin_slice typed;
  switch (kin_json_peek(&json)) {
  case KIN_JSON_STRING:
    kin_attribute_add_typed(out, "S", value);
    return true;
  case KIN_JSON_NUMBER:
    kin_attribute_add_number(out, value);
    return true;
  case KIN_JSON_TRUE:
  case KIN_JSON_FALSE:
    kin_attribute_add_typed(out, "BOOL", value);
    return true;
  case KIN_JSON_NULL:
    kin_attribute_add_typed(out, "NULL", KIN_SLICE("true"));
    return true;
  case KIN_JSON_ARRAY:
    return add_attribute_list(out, &json);
  case KIN_JSON_OBJECT:
    if (!is_tagged(value, &typed))
      return add_attribute_map(out, &json);
    kin_buf_add_slice(out, typed);
    return true;
  default:
    return false;
  }
}
