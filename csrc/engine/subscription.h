/* subscription: a call whose response is an event stream that lasts for minutes. Each event is
 * delivered when it arrives, as KIN_MESSAGE_STREAMED, to the machine or to the Lua thread; at the
 * end the subscription itself, as KIN_MESSAGE_ANSWER. It is retried like a call before its first
 * event, and never after that.
 *
 * The bytes of events that are not freed are bounded by KIN_STREAM_MAX; beyond it the subscription
 * fails. It cannot be paused, because HTTP/2 goes on buffering. See request.h for threads and
 * states. A machine must not drop requests in `receive` of an event: the transport is in use. */
#ifndef KIN_ENGINE_SUBSCRIPTION_H
#define KIN_ENGINE_SUBSCRIPTION_H

#include "engine/engine.h"

enum { KIN_STREAM_MAX = 16 << 20 };

typedef struct kin_subscription {
  kin_call call; /* first */
  kin_engine *engine;
  bool began;       /* an event has arrived */
  kin_error broken; /* why the module has ended the stream; class KIN_OK: it has not */
} kin_subscription;

/* KIN_MESSAGE_STREAMED. */
typedef struct kin_streamed {
  kin_message message;    /* first */
  void *context;          /* of the subscription */
  atomic_size_t *waiting; /* bytes not freed, reduced when the event is freed */
  size_t len;
  char payload[];
} kin_streamed;

/* NULL: out of memory. */
kin_subscription *kin_subscription_create(kin_engine *engine, const char *operation,
                                          unsigned max_attempts);

#endif
