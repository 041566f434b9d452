/* base64 (RFC 4648, with padding): the encoding of a record's data in JSON. Any thread; no state.
 */
#ifndef KIN_WIRE_BASE64_H
#define KIN_WIRE_BASE64_H

#include "base/bytes.h"

#define KIN_BASE64_LENGTH(bytes) (((bytes) + 2) / 3 * 4)

void kin_base64_add(kin_buf *out, kin_slice bytes);

/* Decodes in place; the slice points into the text. False: not strict base64; the text is then
 * overwritten. */
bool kin_base64_decode(char *at, kin_slice *decoded, size_t len);

#endif
