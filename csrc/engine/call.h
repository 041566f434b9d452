/* call: one AWS operation: built and signed at every attempt, sent, judged, and tried again or
 * done. Or a fetch: a request to those who keep keys, which goes as it stands, once, and whose
 * answer is good whatever its status.
 *
 * A call is its own message: it goes to the engine as KIN_MESSAGE_CALL, and when it is over to its
 * owner as KIN_MESSAGE_ANSWER: to the machine `machine`, or without one to the Lua thread. */
#ifndef KIN_ENGINE_CALL_H
#define KIN_ENGINE_CALL_H

#include "base/timers.h"
#include "engine/machine.h"
#include "engine/transport.h"
#include "wire/sigv4.h"

/* Where calls go. */
typedef struct kin_target {
  const char *url;  /* https://host[:port]/path */
  const char *host; /* as the Host header has it */
  const char *path;
  kin_time connect_timeout, request_timeout;
} kin_target;

typedef struct kin_call kin_call;
struct kin_call {
  kin_message message; /* first */
  uint64_t machine;    /* id of the machine it belongs to, or 0 */
  void *context;       /* the machine's own */

  /* asked */
  char operation[KIN_OPERATION_MAX];
  const kin_target *target; /* NULL: the engine's */
  kin_buf body;
  unsigned max_attempts;
  kin_time deadline;     /* monotonic; KIN_NEVER: as long as the attempts take */
  bool ignores_deadline; /* the deadline is for taking off: an attempt under way is waited for */

  /* Reads a good answer, where it lies. False: it is not what the operation answers, which counts
   * as a passing error. NULL: anything goes. */
  bool (*read)(kin_call *call);
  kin_slice found[3]; /* what `read` found, inside the answer */

  /* answered: `failure` of class KIN_OK, and the exchange's answer; else the failure */
  kin_error error;
  kin_exchange exchange;

  /* the engine's own */
  enum { KIN_CALL_IDLE, KIN_CALL_QUEUED, KIN_CALL_IN_FLIGHT, KIN_CALL_RESTING } state;
  unsigned attempt;
  char invocation[40]; /* names the call in all its attempts, for the service's records */
  int cost;            /* taken from the retry quota for this attempt */
  bool asked_for_credentials;
  unsigned keys;       /* generation of the keys it was signed with */
  kin_time skew;       /* which it was signed with */
  kin_time sent_at;    /* wall */
  kin_time started_at; /* monotonic */
  kin_timer timer;
  kin_call *next, *before; /* among the engine's calls, in order of arrival */
  kin_buf head;            /* url and header lines of the attempt */

  /* of a call whose answer is a stream, see stream.h */
  kin_engine *stream;   /* NULL: it is none */
  kin_time stream_life; /* the longest it may last */
  bool began;           /* events have come: it is not tried again */
  kin_error broken;     /* why it was cut off, or of class KIN_OK */

  bool fetch;
  char method[8];       /* of a fetch */
  kin_time fetch_after; /* a duration: a fetch rests before it flies */
};

/* NULL when memory is out. `read` and the rest may be set afterwards. */
kin_call *kin_call_create(const char *operation, unsigned max_attempts);

/* A fetch. `head` is the URL and the header lines, each with a NUL behind it; copied, and wiped
 * when it is freed. Timeouts are the exchange's, set by the caller. */
kin_call *kin_call_fetch(const char *method, kin_slice head);

/* Builds and signs the next attempt; what the keys and the clock are is the caller's. False: it
 * could not be built; `failure` says why. */
bool kin_call_prepare(kin_call *call, const kin_target *target, kin_sigv4 *signer,
                      const kin_credentials *keys, kin_time wall);

/* The same for a fetch, which nobody signs here. */
void kin_call_prepare_fetch(kin_call *call);

/* Fills `failure` from what came back. */
void kin_call_classify(kin_call *call);

/* The answer's x-amz-retry-after as a duration; negative when there was none. */
kin_time kin_call_retry_after(const kin_call *call);

#endif
