/* refusal: what the service says of a failure, in an answer's body or in the middle of a stream. */
#ifndef KIN_WIRE_ERROR_BODY_H
#define KIN_WIRE_ERROR_BODY_H

#include "base/bytes.h"

/* Reads {"__type":…,"message":…}, as far as it is that; what is missing stays empty. The slices
 * point into `body`, which it spoils. */
void kin_error_body_read(kin_buf *body, kin_slice *code, kin_slice *message);

#endif
