#include "engine/lambda.h"

#include <stdlib.h>

bool kin_lambda_is_here(void) {
  const char *name = getenv("AWS_LAMBDA_FUNCTION_NAME");
  return name && name[0];
}

/* Whether a byte of the header stands for itself, as in AWS's own clients. */
static bool is_plain(unsigned char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
         (c != '\0' && strchr("_.-~=;:+&[]{}\"',", c));
}

void kin_lambda_trace_header(kin_buf *out) {
  static const char digits[] = "0123456789ABCDEF";
  const char *id = kin_lambda_is_here() ? getenv("_X_AMZN_TRACE_ID") : NULL;
  for (; id && *id; id++) {
    unsigned char c = (unsigned char)*id;
    char encoded[] = {'%', digits[c >> 4], digits[c & 15]};
    if (is_plain(c))
      kin_buf_add(out, id, 1);
    else
      kin_buf_add(out, encoded, sizeof encoded);
  }
}

static void free_header(kin_message *message) {
  free(message);
}

kin_trace_header *kin_trace_header_create(kin_slice value) {
  kin_trace_header *header = malloc(sizeof *header + value.len + 1);
  if (!header)
    return NULL;
  header->message = (kin_message){.kind = KIN_MESSAGE_TRACE_HEADER, .free = free_header};
  if (value.len > 0)
    memcpy(header->value, value.at, value.len);
  header->value[value.len] = '\0';
  return header;
}
