/* error: the one error value. It allocates nothing, so reporting an error cannot fail. The codes
 * that the library itself sets are in error_codes.h. */
#ifndef KIN_BASE_ERROR_H
#define KIN_BASE_ERROR_H

#include "base/bytes.h"
#include "base/error_codes.h"

/* Whether a retry can help. The lists are those of the AWS SDKs' "standard" retry mode. */
typedef enum {
  KIN_OK,        /* no error */
  KIN_TRANSIENT, /* retry soon */
  KIN_THROTTLED, /* retry later */
  KIN_FATAL,     /* a retry cannot help */
} kin_error_class;

enum {
  KIN_ERROR_CODE_MAX = 64, /* the sizes of fields, with their terminators */
  KIN_OPERATION_MAX = 48,
  KIN_REQUEST_ID_MAX = 80,
  /* long enough for the reason at the end of an AccessDeniedException, and to list every
   * credentials provider that was tried */
  KIN_ERROR_MESSAGE_MAX = 1200,
};

typedef struct kin_error {
  kin_error_class class;
  int status; /* of HTTP; 0: no response */
  char code[KIN_ERROR_CODE_MAX];
  char operation[KIN_OPERATION_MAX];
  char request_id[KIN_REQUEST_ID_MAX];
  char message[KIN_ERROR_MESSAGE_MAX];
} kin_error;

void kin_error_clear(kin_error *error);

/* Sets class, code and message; status, operation and request id stay as they are. Code and message
 * are safe to print, whatever the texts in them hold; a message that is too long ends in "…" (see
 * text.h). */
void kin_error_set(kin_error *error, kin_error_class class, const char *code, const char *format,
                   ...) __attribute__((format(printf, 4, 5)));

/* The same with code and message of the service. */
void kin_error_set_service(kin_error *error, kin_error_class class, kin_slice code,
                           kin_slice message);

/* Appends what is known about records: an answer was not readable after each of `times` attempts.
 */
void kin_error_add_maybe_stored(kin_error *error, unsigned times);

/* Whether the service refused expired or unknown credentials. */
bool kin_error_is_about_credentials(const kin_error *error);

/* Whether it does not know the credentials: they are new, deleted or wrong, rather than expired. */
bool kin_error_is_unknown_credentials(const kin_error *error);

/* The class of a service's error, by its code, else by the HTTP status. */
kin_error_class kin_error_classify(kin_slice code, int status);

/* "com.amazonaws.kinesis.v20131202#X:http://…" is X. */
kin_slice kin_error_bare_code(kin_slice code);

#endif
