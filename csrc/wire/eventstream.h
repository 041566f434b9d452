/* eventstream: an answer that is a stream of messages, each framed with its length and two sums.
 * https://smithy.io/2.0/aws/amazon-eventstream.html */
#ifndef KIN_WIRE_EVENTSTREAM_H
#define KIN_WIRE_EVENTSTREAM_H

#include "base/bytes.h"

typedef struct kin_frame {
  kin_slice kind;    /* "event", "exception" or "error" */
  kin_slice name;    /* of the event or exception; the code of an error */
  kin_slice message; /* of an error */
  kin_slice payload;
} kin_frame;

typedef enum {
  KIN_FRAME_WHOLE,
  KIN_FRAME_PARTIAL, /* more bytes must come */
  KIN_FRAME_BROKEN,  /* what follows cannot be read either */
} kin_frame_state;

/* Reads the first frame of `bytes`, whose slices point into it; *used is its length. One longer
 * than `most` is broken. */
kin_frame_state kin_eventstream_read(kin_slice bytes, size_t most, kin_frame *frame, size_t *used);

#endif
