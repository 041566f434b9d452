/* request: one HTTP request of the engine through all its attempts; the common part of call (an AWS
 * operation), subscription (a call with an event stream) and fetch (unsigned, for a credentials
 * provider). Those modules fill it and set its vtable; loop moves it through its states.
 *
 * The Lua thread or a machine creates a request. Posting it as KIN_MESSAGE_REQUEST, or
 * kin_engine_send, gives it to the engine thread. When done it is delivered as KIN_MESSAGE_ANSWER
 * to its machine, or to the Lua thread.
 *
 *   accept, with a slot     ,-- new credentials needed --.
 *        |                  v                            |
 *        '-------------> QUEUED --slot, credentials--> IN_FLIGHT --classify--> delivered
 *                           ^                            |  ^
 *                           '--delay-- RESTING <--retry--'  |
 *                                         |                 |
 *   accept, without a slot -------------->'------delay------'
 *
 * While there are no credentials, a QUEUED request of a machine with `park` is parked: it stays
 * QUEUED, and the machine knows why. Others fail when the provider has none.
 *
 * A request is delivered with an error from any state when its deadline passes, when it is
 * cancelled, or when the engine stops. */
#ifndef KIN_ENGINE_REQUEST_H
#define KIN_ENGINE_REQUEST_H

#include "base/timers.h"
#include "engine/machine.h"
#include "engine/transport.h"

/* What a request occupies while it is in flight. */
typedef enum {
  KIN_SLOT_NONE,       /* nothing: it starts without waiting for a slot or for credentials */
  KIN_SLOT_CONNECTION, /* one of max_connections; see slots.h */
  KIN_SLOT_STREAM,     /* counted apart, because it is in flight for minutes */
} kin_slot;

/* What follows an attempt. */
typedef enum { KIN_NEXT_DELIVER, KIN_NEXT_QUEUE, KIN_NEXT_RETRY } kin_next;

typedef struct kin_request_vtable {
  kin_slot slot;
  /* The engine takes the request. Returns the delay before its start, for KIN_SLOT_NONE. */
  kin_time (*accept)(kin_request *request, kin_engine *engine);
  /* Builds the next attempt in `exchange`. False: it cannot be built; `error` is set. */
  bool (*prepare)(kin_request *request, kin_engine *engine);
  /* An attempt is finished: sets `error`, and *delay for KIN_NEXT_RETRY. */
  kin_next (*classify)(kin_request *request, kin_engine *engine, kin_time *delay);
  /* Gives the request away: its error and response are final. */
  void (*deliver)(kin_request *request, kin_engine *engine);
} kin_request_vtable;

struct kin_request {
  kin_message message; /* first */
  const kin_request_vtable *vtable;
  uint64_t machine;  /* id of the machine that owns it; 0: Lua */
  void *context;     /* for the machine */
  bool renews_lease; /* or is for other leases: it does not wait behind calls of Kinesis */

  char operation[KIN_OPERATION_MAX]; /* empty: none */
  kin_buf body;
  kin_time deadline;       /* monotonic, of all attempts; KIN_NEVER: none */
  kin_time start_deadline; /* monotonic: an attempt must start before; it may end later */

  /* the result: `error` of class KIN_OK and the response in `exchange`, else the error */
  kin_error error;
  kin_exchange exchange;

  /* for the engine only */
  enum { KIN_REQUEST_IDLE, KIN_REQUEST_QUEUED, KIN_REQUEST_IN_FLIGHT, KIN_REQUEST_RESTING } state;
  kin_time started_at; /* monotonic, of the last attempt; 0: none */
  bool refused; /* QUEUED: the service has refused the current credentials, as `error` says */
  bool parked;  /* QUEUED: its machine knows that there are no credentials for it */
  bool paused;  /* IN_FLIGHT: there is no space for its response; see pause.c */
  bool late;    /* delivered: a deadline passed before it was answered */
  kin_buf head; /* URL and header lines of the attempt */
  kin_timer timer;
  kin_request *next, *previous; /* among the engine's requests, in order of arrival */
};

/* Initialises a request that is zero. `free` destroys it. */
void kin_request_init(kin_request *request, const kin_request_vtable *vtable, const char *operation,
                      void (*free)(kin_message *message));

/* Frees its buffers; wipes `head`, which holds the session token. */
void kin_request_free_buffers(kin_request *request);

/* Clears `error`, but for status, operation and request id. */
void kin_request_clear_error(kin_request *request);

enum { KIN_URL_QUOTED = 160 }; /* bytes of a URL in an error's message */

/* Sets `error` when there is no response: the transport has failed. False: there is one. The URL is
 * quoted up to `url_len`. */
bool kin_request_classify_transport(kin_request *request, size_t url_len);

#endif
