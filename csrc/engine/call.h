/* call: a request that is one AWS operation, built and signed at every attempt, and retried by the
 * rules of retry. See request.h for threads and states. */
#ifndef KIN_ENGINE_CALL_H
#define KIN_ENGINE_CALL_H

#include "engine/request.h"
#include "engine/target.h"

typedef struct kin_call kin_call;
struct kin_call {
  kin_request request;      /* first */
  const kin_target *target; /* NULL: the engine's */
  unsigned max_attempts;
  kin_time timeout; /* of one attempt; 0: the target's */

  /* Reads a 2xx response in place. False: it is not one of the operation, which counts as a
   * transient error, KIN_UNKNOWN_ATTEMPTS times at most. NULL: any response is a success. */
  bool (*read)(kin_call *call);
  bool out_of_memory; /* set by `read`, when that is why it returns false */
  kin_slice found[3]; /* set by `read`: parts of the response */
  size_t received;    /* bytes of the last response: `read` may take its body */

  /* for the engine only, but may be read when the call is done */
  unsigned attempt;
  bool damaged;     /* the last response is not the one of its checksum */
  unsigned unread;  /* number of 2xx responses that were not of the operation */
  kin_time sent_at; /* wall, of the last attempt */
  int cost;         /* taken from the retry quota for this attempt */
  bool asked_for_credentials;
  unsigned signed_again; /* because of the age of its signature */
  unsigned credentials;  /* generation of the credentials it was signed with */
  kin_time skew;         /* that it was signed with */
  char invocation[40];   /* the amz-sdk-invocation-id of all its attempts */
};

/* NULL: out of memory. The creator sets body, target, read and the rest. */
kin_call *kin_call_create(const char *operation, unsigned max_attempts);

/* Sets `error` by the response of the last attempt. */
void kin_call_classify(kin_call *call);

/* The response's x-amz-retry-after as a duration; negative: absent. */
kin_time kin_call_retry_after(const kin_call *call);

/* The machine of the call will send its records again after `delay`: counts and traces that. */
void kin_call_note_retry(kin_call *call, kin_engine *engine, kin_time delay);

/* ---- for subscription, which is a call with other vtable functions ---- */

void kin_call_init(kin_call *call, const char *operation, unsigned max_attempts);
bool kin_call_prepare(kin_request *request, kin_engine *engine);
void kin_call_deliver(kin_request *request, kin_engine *engine);

/* Masks the call's secrets in a text of the service. */
void kin_call_mask(const kin_call *call, kin_engine *engine, kin_buf *text);

/* The same for a part of the call's answer, in place. */
void kin_call_mask_slice(const kin_call *call, kin_engine *engine, kin_slice *text);

/* Notes the service's clock, classifies the response, counts and traces it. */
void kin_call_receive(kin_call *call, kin_engine *engine, void (*classify)(kin_call *call));

/* What follows the attempt, by its error. */
kin_next kin_call_next(kin_call *call, kin_engine *engine, kin_time *delay);

#endif
