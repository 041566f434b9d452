#include "engine/subscription.h"

#include <stdlib.h>

#include "engine/internal.h"
#include "wire/error_body.h"
#include "wire/eventstream.h"

/* The service ends a subscription after five minutes. */
#define LIFE (330 * KIN_SECOND)

static void free_streamed(kin_message *message) {
  kin_streamed *streamed = (kin_streamed *)message;
  atomic_fetch_sub(streamed->waiting, sizeof *streamed + streamed->len);
  free(streamed);
}

static bool fail(kin_subscription *self, kin_error_class class, const char *code,
                 const char *message) {
  kin_error_set(&self->broken, class, code, "%s", message);
  return false;
}

static bool deliver_event(kin_subscription *self, kin_slice payload) {
  const kin_request *request = &self->call.request;
  kin_engine *engine = self->engine;
  size_t size = sizeof(kin_streamed) + payload.len;
  if (atomic_load(&engine->shared.streamed) + size > KIN_STREAM_MAX)
    return fail(self, KIN_FATAL, KIN_CODE_FULL,
                "16 MiB of events were not read; subscribe again behind the last "
                "ContinuationSequenceNumber, and read sooner");
  kin_streamed *streamed = malloc(size);
  if (!streamed)
    return fail(self, KIN_TRANSIENT, KIN_CODE_OUT_OF_MEMORY, "out of memory");
  streamed->message = (kin_message){
      .kind = KIN_MESSAGE_STREAMED, .owner = request->message.owner, .free = free_streamed};
  streamed->context = request->context;
  streamed->waiting = &engine->shared.streamed;
  streamed->len = payload.len;
  if (payload.len > 0)
    memcpy(streamed->payload, payload.at, payload.len);
  atomic_fetch_add(&engine->shared.streamed, size);
  kin_engine_deliver(engine, request->machine, &streamed->message);
  return true;
}

/* The service ends the stream with this frame. */
static bool take_error(kin_subscription *self, const kin_frame *frame) {
  kin_buf copy;
  kin_buf_init(&copy, KIN_ANSWER_MAX);
  kin_slice code = {0}, message;
  kin_buf_add_slice(&copy, frame->message.len > 0 ? frame->message : frame->payload);
  kin_call_mask(&self->call, self->engine, &copy);
  if (frame->message.len > 0)
    message = kin_buf_slice(&copy);
  else
    kin_error_body_read(&copy, &code, &message);
  if (frame->name.len > 0)
    code = frame->name;
  kin_error_set_service(&self->broken, kin_error_classify(code, 400),
                        code.len > 0 ? code : KIN_SLICE(KIN_CODE_BAD_ANSWER), message);
  kin_buf_free(&copy);
  return false;
}

/* The service may add types of messages and events, which are passed over. */
static bool take_frame(kin_subscription *self, const kin_frame *frame) {
  if (kin_slice_is(frame->kind, "exception") || kin_slice_is(frame->kind, "error"))
    return take_error(self, frame);
  if (frame->kind.len == 0)
    return fail(self, KIN_TRANSIENT, KIN_CODE_BAD_ANSWER,
                "the stream of events has a message without a type");
  return !kin_slice_is(frame->kind, "event") ||
         !kin_slice_is(frame->name, "SubscribeToShardEvent") || deliver_event(self, frame->payload);
}

/* Called by the transport after bytes of the response have arrived. False: the stream ends. */
static bool arrived(kin_exchange *exchange) {
  kin_subscription *self = (kin_subscription *)KIN_OWNER(exchange, kin_request, exchange);
  kin_buf *answer = &exchange->answer;
  size_t at = 0, used = 0;
  kin_frame frame;
  kin_frame_state state = KIN_FRAME_WHOLE;
  if (exchange->status != 200)
    return true; /* an error, which is read when it is complete */
  while (state == KIN_FRAME_WHOLE) {
    kin_slice rest = {answer->at + at, answer->len - at};
    state = kin_eventstream_read(rest, KIN_ANSWER_MAX, &frame, &used);
    if (state == KIN_FRAME_WHOLE) {
      at += used;
      self->began = true;
      if (!take_frame(self, &frame))
        return false;
    }
  }
  if (state == KIN_FRAME_BROKEN)
    return fail(self, KIN_TRANSIENT, KIN_CODE_BAD_ANSWER,
                "the response is not a stream of events, or was corrupted on its way");
  self->call.received += at;
  kin_count(&self->engine->shared.counters.bytes_received, at);
  memmove(answer->at, answer->at + at, answer->len - at);
  answer->len -= at;
  return true;
}

/* ---- the vtable ---- */

static kin_time accept(kin_request *request, kin_engine *engine) {
  (void)request;
  kin_count(&engine->shared.counters.calls, 1);
  return 0;
}

static bool prepare(kin_request *request, kin_engine *engine) {
  kin_error_clear(&((kin_subscription *)request)->broken);
  return kin_call_prepare(request, engine);
}

static void classify_stream(kin_call *call) {
  const kin_error *broken = &((kin_subscription *)call)->broken;
  kin_error *error = &call->request.error;
  kin_call_classify(call);
  if (broken->class != KIN_OK)
    kin_error_set(error, broken->class, broken->code, "%s", broken->message);
  else if (error->class == KIN_OK && call->request.exchange.answer.len > 0)
    kin_error_set(error, KIN_TRANSIENT, KIN_CODE_BAD_ANSWER, "the stream of events broke off");
}

static kin_next classify(kin_request *request, kin_engine *engine, kin_time *delay) {
  kin_subscription *self = (kin_subscription *)request;
  kin_call_receive(&self->call, engine, classify_stream);
  return self->began && request->error.class != KIN_OK ? KIN_NEXT_DELIVER
                                                       : kin_call_next(&self->call, engine, delay);
}

kin_subscription *kin_subscription_create(kin_engine *engine, const char *operation,
                                          unsigned max_attempts) {
  static const kin_request_vtable vtable = {KIN_SLOT_STREAM, accept, prepare, classify,
                                            kin_call_deliver};
  kin_subscription *self = calloc(1, sizeof *self);
  if (!self)
    return NULL;
  kin_call_init(&self->call, operation, max_attempts);
  self->call.request.vtable = &vtable;
  self->call.request.exchange.arrived = arrived;
  self->call.timeout = LIFE;
  self->engine = engine;
  return self;
}
