/* target: where calls go: a URL of a service, in the service's JSON protocol, with the signer for
 * the service and region, by which call.c signs each attempt. Created on the Lua thread, read on
 * the engine thread, which alone uses the signer; lives as long as the engine. */
#ifndef KIN_ENGINE_TARGET_H
#define KIN_ENGINE_TARGET_H

#include "base/clock.h"
#include "wire/sigv4.h"

/* An AWS service with a JSON protocol; a constant. */
typedef struct kin_service {
  const char *name;          /* in signatures */
  const char *target_prefix; /* of the operation, in the X-Amz-Target header */
  const char *content_type;
  const char *title;   /* in messages */
  kin_time retry_base; /* of delays after transient errors; see retry.h */
} kin_service;

extern const kin_service kin_service_kinesis, kin_service_dynamodb;

/* The address of a target. */
typedef struct kin_endpoint {
  const kin_service *service;
  const char *region;
  const char *url;  /* https://host[:port]/path */
  const char *host; /* the value of the Host header */
  const char *path;
  /* Of calls to the credentials' account: its host without the first label, which is the account's
   * id; the scheme is https. NULL: calls go to `url`. */
  const char *account_host;
  bool needs_account; /* they do not go to `url` when the account is unknown */
} kin_endpoint;

typedef struct kin_target {
  kin_endpoint endpoint;
  kin_sigv4 *signer;
  kin_time connect_timeout, request_timeout;
} kin_target;

/* All targets of an engine, and one signer for each service and region. Lua thread. */
typedef struct kin_targets {
  struct kin_target_item *targets;
  struct kin_signer_item *signers;
} kin_targets;

/* The target of that service, region and URL, which is created the first time, with these timeouts.
 * Copies the texts. NULL: out of memory. */
const kin_target *kin_targets_get(kin_targets *targets, const kin_endpoint *endpoint,
                                  kin_time connect_timeout, kin_time request_timeout);

void kin_targets_free(kin_targets *targets);

#endif
