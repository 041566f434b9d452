/* keyring: the keys that calls are signed with, and when fresh ones are wanted. Engine thread only.
 *
 * Keys that expire are wanted KIN_CREDENTIALS_EARLY before, once, but not before a quarter of their
 * life is over: a provider that hands out what it keeps is not to be asked at every call. The old
 * ones serve until they expire; then calls park, until fresh ones come, their own time is up, or
 * the provider says it failed. */
#ifndef KIN_ENGINE_CREDENTIALS_H
#define KIN_ENGINE_CREDENTIALS_H

#include "base/clock.h"
#include "base/error.h"
#include "engine/mailbox.h"
#include "wire/sigv4.h"

#define KIN_CREDENTIALS_EARLY (900 * KIN_SECOND)
#define KIN_CREDENTIALS_AGAIN (30 * KIN_SECOND)

/* KIN_MESSAGE_CREDENTIALS. Either keys, or `failure`. Wiped when freed. */
typedef struct kin_credentials_message {
  kin_message message;
  kin_credentials keys;
  kin_time expires; /* wall, or KIN_NEVER */
  kin_error error;
  char *memory; /* what `keys` points into */
  size_t memory_len;
} kin_credentials_message;

/* Copies; NULL when memory is out. A NULL `keys` makes an empty message for a error. */
kin_credentials_message *kin_credentials_message_create(const kin_credentials *keys,
                                                        kin_time expires);

typedef struct kin_credential_store {
  kin_credentials_message *current; /* owned; NULL before the first keys */
  bool wanted;                      /* asked for, not yet answered */
  unsigned generation;              /* counts the keys that were current */
  bool refused;                     /* the service called the current keys expired */
  kin_time ask_after;               /* wall; not before */
} kin_credential_store;

void kin_credential_store_destroy(kin_credential_store *ring);

/* Takes what the provider said. NULL: the keys serve. Otherwise why parked calls must fail now; a
 * failed refresh does not take away keys that still serve, and is tried again in a while. */
const kin_error *kin_credential_store_put(kin_credential_store *ring, kin_credentials_message *keys,
                                          kin_time wall, kin_error *error);

/* Whether a call may be signed now, or has to park. *want is set when the provider must be asked:
 * never twice for the same keys. */
bool kin_credential_store_ready(kin_credential_store *ring, kin_time wall, bool *want);

/* The service refused keys of that generation as expired: if they are current, they are not used
 * again. False when there is nobody to ask for others, because they never expire by themselves. */
bool kin_credential_store_refuse(kin_credential_store *ring, unsigned generation);

#endif
