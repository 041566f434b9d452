/* json (RFC 8259): an append-writer, and a pull-reader that decodes strings where they stand. */
#ifndef KIN_WIRE_JSON_H
#define KIN_WIRE_JSON_H

#include "base/bytes.h"

/* ---- writing ---- */

/* `text`, quoted and escaped; it is UTF-8 already. */
void kin_json_add_string(kin_buf *out, kin_slice text);

/* `,"name":` or, right behind a `{`, `"name":`. The name needs no escapes. */
void kin_json_add_name(kin_buf *out, const char *name);

/* ---- reading ---- */

typedef enum {
  KIN_JSON_BAD, /* or the end */
  KIN_JSON_OBJECT,
  KIN_JSON_ARRAY,
  KIN_JSON_STRING,
  KIN_JSON_NUMBER,
  KIN_JSON_TRUE,
  KIN_JSON_FALSE,
  KIN_JSON_NULL,
} kin_json_kind;

/* Every function returns false once the text was found wrong, and `bad` stays set, so that a caller
 * may walk on and check once. The slices it gives lie inside the text. */
typedef struct kin_json {
  char *at, *end;
  bool fresh; /* right behind an opening brace or bracket */
  bool bad;
} kin_json;

void kin_json_init(kin_json *json, char *text, size_t len);

kin_json_kind kin_json_peek(kin_json *json);

/* Into an object, then its keys one by one; false after the last. Each value must be taken. */
bool kin_json_object(kin_json *json);
bool kin_json_key(kin_json *json, kin_slice *key);

/* Into an array, then item by item; false after the last. Each item must be taken. */
bool kin_json_array(kin_json *json);
bool kin_json_item(kin_json *json);

bool kin_json_string(kin_json *json, kin_slice *text);
bool kin_json_number(kin_json *json, double *number);

/* A string, or null, which leaves the slice empty: the service sends both. */
bool kin_json_string_or_null(kin_json *json, kin_slice *text);

/* Takes a null if one stands here. */
bool kin_json_null(kin_json *json);

bool kin_json_skip(kin_json *json);

/* True when the text was right and nothing but blanks is left. */
bool kin_json_done(kin_json *json);

#endif
