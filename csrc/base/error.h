/* failure: the one error value. No allocation, so that reporting one cannot fail. */
#ifndef KIN_BASE_ERROR_H
#define KIN_BASE_ERROR_H

#include "base/bytes.h"

/* What a repetition could help. Lists: AWS SDK retry behaviour, "standard" mode. */
typedef enum {
  KIN_OK,        /* no failure */
  KIN_TRANSIENT, /* transient: try again soon */
  KIN_THROTTLED, /* try again, later */
  KIN_FATAL,     /* trying again cannot help */
} kin_error_class;

typedef struct kin_error {
  kin_error_class class;
  int status; /* HTTP, 0 when no answer came */
  char code[64];
  char operation[48];
  char request_id[80];
  char message[1200]; /* the places where keys were missed make a long one */
} kin_error;

void kin_error_clear(kin_error *error);

/* Sets class, code and message; status, operation and request id stay as they are. */
void kin_error_set(kin_error *error, kin_error_class class, const char *code, const char *format,
                   ...) __attribute__((format(printf, 4, 5)));

/* The class of an error the service named: by its code, else by the HTTP status. */
kin_error_class kin_error_classify(kin_slice code, int status);

/* "com.amazonaws.kinesis.v20131202#X:http://…" is X. */
kin_slice kin_error_bare_code(kin_slice code);

#endif
