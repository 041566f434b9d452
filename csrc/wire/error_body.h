/* error_body: an error of the service, in a response's body or in an event stream. Any thread. */
#ifndef KIN_WIRE_ERROR_BODY_H
#define KIN_WIRE_ERROR_BODY_H

#include "base/bytes.h"

/* Reads {"__type":…,"message":…}; a missing member is empty, and both are when the text is
 * malformed. The slices point into `body`, which is decoded in place. */
void kin_error_body_read(kin_buf *body, kin_slice *code, kin_slice *message);

#endif
