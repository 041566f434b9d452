/* eventstream: the frames of an event stream response; each has a length and two checksums. Any
 * thread; no state.
 * https://smithy.io/2.0/aws/amazon-eventstream.html */
#ifndef KIN_WIRE_EVENTSTREAM_H
#define KIN_WIRE_EVENTSTREAM_H

#include "base/bytes.h"

typedef struct kin_frame {
  kin_slice kind;    /* "event", "exception", "error" or another; empty: absent */
  kin_slice name;    /* of the event or exception, or the code of an error */
  kin_slice message; /* of an error */
  kin_slice payload;
} kin_frame;

typedef enum {
  KIN_FRAME_WHOLE,
  KIN_FRAME_PARTIAL, /* more bytes are needed */
  KIN_FRAME_BROKEN,  /* malformed; the rest of the stream cannot be read */
} kin_frame_state;

/* Reads the first frame of `bytes`; the slices point into them; *used is the frame's length. A
 * frame longer than `max` is broken. */
kin_frame_state kin_eventstream_read(kin_slice bytes, size_t max, kin_frame *frame, size_t *used);

#endif
