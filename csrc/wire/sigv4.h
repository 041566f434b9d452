/* sigv4: AWS Signature Version 4 in the Authorization header.
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
 *
 * A signer belongs to one thread; it is for one region and service, and keeps OpenSSL's contexts
 * and the signing key of the day. */
#ifndef KIN_WIRE_SIGV4_H
#define KIN_WIRE_SIGV4_H

#include <stdint.h>

#include "base/bytes.h"

typedef struct kin_credentials {
  const char *access_key_id;
  const char *secret_access_key;
  const char *session_token; /* or NULL */
} kin_credentials;

typedef struct kin_header {
  kin_slice name; /* in lower case */
  kin_slice value;
} kin_header;

typedef struct kin_sigv4_request {
  const char *method;
  kin_slice path;            /* percent-encoded, starts with a slash */
  kin_slice query;           /* canonical, or empty */
  const kin_header *headers; /* sorted by name; all of them are signed */
  size_t header_count;
  kin_slice payload;
} kin_sigv4_request;

enum {
  KIN_SIGV4_DATE = 17,        /* "20130524T000000Z" and its terminator */
  KIN_SIGV4_SECRET_MAX = 255, /* bytes of a secret access key */
};

typedef struct kin_sigv4 kin_sigv4;

/* NULL: out of memory, or OpenSSL has no SHA-256. */
kin_sigv4 *kin_sigv4_create(kin_slice region, kin_slice service);
void kin_sigv4_destroy(kin_sigv4 *signer);

/* The x-amz-date of a time in seconds since 1970. */
void kin_sigv4_date(int64_t seconds, char date[KIN_SIGV4_DATE]);

/* The intermediate texts of the specification, for specs. */
void kin_sigv4_canonical(kin_sigv4 *signer, const kin_sigv4_request *request, kin_buf *out);
void kin_sigv4_string_to_sign(kin_sigv4 *signer, const char *date, kin_slice canonical,
                              kin_buf *out);

/* Appends the value of the Authorization header. `date` is the request's x-amz-date. False: out of
 * memory, or the secret is too long. */
bool kin_sigv4_sign(kin_sigv4 *signer, const kin_credentials *credentials, const char *date,
                    const kin_sigv4_request *request, kin_buf *authorization);

#endif
