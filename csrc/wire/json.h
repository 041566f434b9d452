/* json (RFC 8259): a writer that appends to a buffer, and a pull reader that decodes strings in
 * place. A reader belongs to one thread. */
#ifndef KIN_WIRE_JSON_H
#define KIN_WIRE_JSON_H

#include "base/bytes.h"

/* ---- writing ---- */

/* Appends `text` quoted and escaped. The text is UTF-8. */
void kin_json_add_string(kin_buf *out, kin_slice text);

/* Appends `,"name":` or, directly after a `{`, `"name":`. The name needs no escapes. */
void kin_json_add_name(kin_buf *out, const char *name);

/* Appends a number with as many digits as it needs, in any locale. False: it is infinite or NaN. */
bool kin_json_add_number(kin_buf *out, double number);

/* ---- reading ---- */

typedef enum {
  KIN_JSON_BAD, /* malformed, or the end */
  KIN_JSON_OBJECT,
  KIN_JSON_ARRAY,
  KIN_JSON_STRING,
  KIN_JSON_NUMBER,
  KIN_JSON_TRUE,
  KIN_JSON_FALSE,
  KIN_JSON_NULL,
} kin_json_kind;

/* After a malformed token every function returns false and `bad` stays set, so a caller may check
 * once at the end. The slices point into the text. */
typedef struct kin_json {
  char *at, *end;
  bool fresh; /* directly after an opening brace or bracket */
  bool raw;   /* strings are not decoded: the text stays as it is, to be read again */
  bool bad;
} kin_json;

void kin_json_init(kin_json *json, char *text, size_t len);

kin_json_kind kin_json_peek(kin_json *json);

/* Enters an object, then reads its keys one by one; false after the last. The caller must read or
 * skip each value. */
bool kin_json_object(kin_json *json);
bool kin_json_key(kin_json *json, kin_slice *key);

/* Enters an array, then its items one by one; false after the last. The caller must read or skip
 * each item. */
bool kin_json_array(kin_json *json);
bool kin_json_item(kin_json *json);

bool kin_json_string(kin_json *json, kin_slice *text);
bool kin_json_number(kin_json *json, double *number);

/* Reads a string, or null, which leaves the slice empty: the service sends both. */
bool kin_json_string_or_null(kin_json *json, kin_slice *text);

/* Reads a null; false, without an error: the next value is another one. */
bool kin_json_null(kin_json *json);

bool kin_json_skip(kin_json *json);

/* Takes the next value as it is written. */
bool kin_json_raw(kin_json *json, kin_slice *text);

/* True when the text was well-formed and only blanks are left. */
bool kin_json_done(kin_json *json);

#endif
