/* Any bytes, encoded, decode to the same bytes; any text that decodes is the encoding of its bytes.
 */
#include "fuzz.h"
#include "wire/base64.h"

static kin_buf encode(kin_slice bytes) {
  kin_buf out;
  kin_buf_init(&out, KIN_BASE64_LENGTH(bytes.len) + 1); /* OpenSSL writes a terminator */
  kin_base64_add(&out, bytes);
  MUST(!out.failed && out.len == KIN_BASE64_LENGTH(bytes.len));
  return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  kin_slice decoded = {0}, input = {(const char *)data, size};
  kin_buf text = encode(input);
  MUST(kin_base64_decode(text.at, &decoded, text.len));
  MUST(decoded.len == size && (size == 0 || memcmp(decoded.at, data, size) == 0));
  kin_buf_free(&text);

  kin_buf copy = fuzz_copy(data, size);
  if (kin_base64_decode(copy.at, &decoded, copy.len)) {
    fuzz_inside(decoded, &copy);
    text = encode(decoded);
    MUST(text.len == size && (size == 0 || memcmp(text.at, data, size) == 0));
    kin_buf_free(&text);
  }
  kin_buf_free(&copy);
  return 0;
}
