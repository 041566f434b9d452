/* base64 (RFC 4648, with padding): how JSON carries a record's data. */
#ifndef KIN_WIRE_BASE64_H
#define KIN_WIRE_BASE64_H

#include "base/bytes.h"

#define KIN_BASE64_LENGTH(bytes) (((bytes) + 2) / 3 * 4)

void kin_base64_add(kin_buf *out, kin_slice bytes);

/* Decodes where it stands and shortens the slice. False for anything that is not strict base64;
 * the bytes are then spoilt. */
bool kin_base64_decode(char *at, kin_slice *decoded, size_t len);

#endif
