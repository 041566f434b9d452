#include "wire/error_body.h"

#include "wire/json.h"

void kin_error_body_read(kin_buf *body, kin_slice *code, kin_slice *message) {
  kin_json json;
  kin_slice key;
  *code = *message = (kin_slice){0};
  kin_json_init(&json, body->at, body->failed ? 0 : body->len);
  if (kin_json_peek(&json) == KIN_JSON_OBJECT && kin_json_object(&json)) {
    while (kin_json_key(&json, &key)) {
      bool is_text = kin_json_peek(&json) == KIN_JSON_STRING;
      bool is_code = kin_slice_is(key, "__type") || kin_slice_is(key, "code");
      bool is_message = kin_slice_is(key, "message") || kin_slice_is(key, "Message");
      if (is_text && (is_code || is_message))
        kin_json_string(&json, is_code ? code : message);
      else
        kin_json_skip(&json);
    }
  }
  if (json.bad)
    *code = *message = (kin_slice){0};
}
