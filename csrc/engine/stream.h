/* stream: a call whose answer is a stream of events, each told as it comes, for minutes. It ends
 * like any call, with KIN_MESSAGE_ANSWER. Bytes that Lua has not taken are bounded: beyond that the
 * stream is dropped, as it is never paused: HTTP/2 would hide what goes on coming. Engine thread,
 * but for kin_stream_begin. */
#ifndef KIN_ENGINE_STREAM_H
#define KIN_ENGINE_STREAM_H

#include "engine/engine.h"

enum { KIN_STREAM_MAX = 16 << 20 };

/* KIN_MESSAGE_STREAMED. */
typedef struct kin_streamed {
  kin_message message;    /* first */
  atomic_size_t *waiting; /* what it leaves when freed */
  size_t len;
  char payload[];
} kin_streamed;

/* Makes a stream of a call that was created and not sent. Lua thread. */
void kin_stream_begin(kin_engine *engine, kin_call *call);

#endif
