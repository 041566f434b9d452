/* fetch: an unsigned HTTP request for a credentials provider; one attempt; any status is a success.
 * It waits neither for a connection slot nor for credentials, because queued calls may wait for the
 * credentials that it brings. See request.h for threads and states. */
#ifndef KIN_ENGINE_FETCH_H
#define KIN_ENGINE_FETCH_H

#include "engine/request.h"

typedef struct kin_fetch {
  kin_request request; /* first; the creator sets its body, and its exchange's timeouts */
  char method[8];
  kin_time delay; /* before it starts; a duration */
} kin_fetch;

/* `head` is the URL and the header lines, each terminated; it is copied. Body, head and response
 * are wiped when the fetch is freed. NULL: out of memory. */
kin_fetch *kin_fetch_create(const char *method, kin_slice head);

#endif
