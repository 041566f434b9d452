#include "engine/stream.h"

#include <stdlib.h>

#include "engine/internal.h"
#include "wire/eventstream.h"
#include "wire/error_body.h"

/* Longer than the service lets a subscription live. */
#define LIFE (330 * KIN_SECOND)

static void free_streamed(kin_message *message) {
  kin_streamed *streamed = (kin_streamed *)message;
  atomic_fetch_sub(streamed->waiting, sizeof *streamed + streamed->len);
  free(streamed);
}

static bool fail(kin_call *call, kin_error_class class, kin_slice code, kin_slice message) {
  kin_error_set_service(&call->broken, class, code, message);
  return false;
}

static bool tell(kin_call *call, kin_slice payload) {
  kin_engine *engine = call->stream;
  size_t room = sizeof(kin_streamed) + payload.len;
  if (atomic_load(&engine->streamed) + room > KIN_STREAM_MAX)
    return fail(call, KIN_FATAL, KIN_SLICE(KIN_CODE_FULL),
                KIN_SLICE("16 MiB of events were not read; subscribe again behind the last "
                          "ContinuationSequenceNumber, and read sooner"));
  kin_streamed *streamed = malloc(room);
  if (!streamed)
    return fail(call, KIN_TRANSIENT, KIN_SLICE(KIN_CODE_CONNECTION), KIN_SLICE("out of memory"));
  streamed->message = (kin_message){
      .kind = KIN_MESSAGE_STREAMED, .owner = call->message.owner, .free = free_streamed};
  streamed->waiting = &engine->streamed;
  streamed->len = payload.len;
  if (payload.len > 0)
    memcpy(streamed->payload, payload.at, payload.len);
  atomic_fetch_add(&engine->streamed, room);
  kin_engine_tell(engine, &streamed->message);
  return true;
}

static bool take(kin_call *call, const kin_frame *frame) {
  if (kin_slice_is(frame->kind, "event"))
    return kin_slice_is(frame->name, "initial-response") || tell(call, frame->payload);
  kin_buf copy;
  kin_buf_init(&copy, KIN_ANSWER_MAX);
  kin_slice code, said;
  kin_buf_add_slice(&copy, frame->payload);
  kin_error_body_read(&copy, &code, &said);
  if (frame->name.len > 0)
    code = frame->name;
  if (frame->message.len > 0)
    said = frame->message;
  fail(call, kin_error_classify(code, 400), code.len > 0 ? code : KIN_SLICE(KIN_CODE_BAD_ANSWER),
       said);
  kin_buf_free(&copy);
  return false;
}

/* Inside the transport, whenever bytes of the answer have come. False: no more of it. */
static bool arrived(kin_exchange *exchange) {
  kin_call *call = KIN_OWNER(exchange, kin_call, exchange);
  kin_buf *answer = &exchange->answer;
  size_t at = 0, used = 0;
  kin_frame frame;
  kin_frame_state state = KIN_FRAME_WHOLE;
  if (exchange->status != 200)
    return true; /* an error, read when it is whole */
  while (state == KIN_FRAME_WHOLE) {
    kin_slice rest = {answer->at + at, answer->len - at};
    state = kin_eventstream_read(rest, KIN_ANSWER_MAX, &frame, &used);
    if (state == KIN_FRAME_WHOLE) {
      at += used;
      call->began = true;
      if (!take(call, &frame))
        return false;
    }
  }
  if (state == KIN_FRAME_BROKEN)
    return fail(call, KIN_TRANSIENT, KIN_SLICE(KIN_CODE_BAD_ANSWER),
                KIN_SLICE("what came is no stream of events, or was mangled on its way"));
  memmove(answer->at, answer->at + at, answer->len - at);
  answer->len -= at;
  return true;
}

void kin_stream_begin(kin_engine *engine, kin_call *call) {
  call->stream = engine;
  call->exchange.arrived = arrived;
  call->stream_life = LIFE;
}
