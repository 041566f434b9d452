/* attribute: JSON values as DynamoDB's typed ones, {"S":"…"}, and back. Texts are taken and given
 * as they are written in JSON: escapes are never decoded. Any thread; no state.
 *
 * Strings, numbers, booleans, lists and objects are themselves; what JSON does not have (sets,
 * bytes, null) is {"dynamodb":{"SS":[…]}}, so that it can be written again.
 * https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_AttributeValue.html */
#ifndef KIN_WIRE_ATTRIBUTE_H
#define KIN_WIRE_ATTRIBUTE_H

#include "wire/json.h"

/* ---- JSON as it is written ---- */

/* A reader that leaves the text as it is. */
kin_json kin_json_look(kin_slice text);

/* What is between the quotes of a string; of other values: empty. */
kin_slice kin_json_inside(kin_slice value);

bool kin_json_is_number(kin_slice text);

/* Appends a comma, unless a brace or bracket was opened just now. */
void kin_json_add_comma(kin_buf *out);

/* Append "TEXT", and "NAME": with a comma before it, of what is written as in JSON. */
void kin_json_add_quoted(kin_buf *out, kin_slice text);
void kin_json_add_raw_name(kin_buf *out, kin_slice name);

/* ---- values ---- */

/* Reads {"TYPE":VALUE}. */
bool kin_attribute_read(kin_json *json, kin_slice *type, kin_slice *value);

/* Append {"TYPE":VALUE}, and {"N":"DIGITS"}. */
void kin_attribute_add_typed(kin_buf *out, const char *type, kin_slice value);
void kin_attribute_add_number(kin_buf *out, kin_slice digits);

/* Append a typed value as JSON, and JSON as a typed value. False: it is none. The text is
 * well-formed, which bounds its depth. */
bool kin_attribute_add_plain(kin_buf *out, kin_slice typed);
bool kin_attribute_add(kin_buf *out, kin_slice value);

#endif
