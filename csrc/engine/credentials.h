/* credentials: the credentials that sign calls, and when to ask for new ones. Engine thread; a
 * message is created on the Lua thread.
 *
 * Credentials that expire are asked for once, KIN_CREDENTIALS_EARLY before they do, but not before
 * a quarter of their life has passed: a provider may return the same ones again. The old ones are
 * used until they expire. Then calls wait until new ones arrive, the call's deadline passes or the
 * provider fails.
 *
 *   none --put--> valid --expires, refused--> invalid --put--> valid
 *
 * This module decides when; the refresh itself is lua/kinesis/credentials/refresh.lua, on the Lua
 * thread: KIN_MESSAGE_CREDENTIALS_WANTED asks for it, KIN_MESSAGE_CREDENTIALS is its result. */
#ifndef KIN_ENGINE_CREDENTIALS_H
#define KIN_ENGINE_CREDENTIALS_H

#include "base/clock.h"
#include "base/error.h"
#include "engine/mailbox.h"
#include "wire/sigv4.h"

#define KIN_CREDENTIALS_EARLY (900 * KIN_SECOND)
#define KIN_CREDENTIALS_RETRY (30 * KIN_SECOND) /* after a provider's error */

/* KIN_MESSAGE_CREDENTIALS: credentials, or the provider's error. Wiped when freed. */
typedef struct kin_credentials_message {
  kin_message message; /* first */
  kin_credentials credentials;
  kin_time expires; /* wall, or KIN_NEVER */
  kin_error error;  /* class KIN_OK: none */
  char *memory;     /* `credentials` points into it */
  size_t memory_len;
} kin_credentials_message;

/* Copies; NULL `credentials`: for an error. NULL: out of memory. */
kin_credentials_message *kin_credentials_message_create(const kin_credentials *credentials,
                                                        kin_time expires);

typedef struct kin_credentials_store {
  kin_credentials_message *current; /* owned; NULL: none yet */
  bool requested;                   /* the provider was asked and has not answered */
  unsigned generation;              /* incremented by each new credentials */
  bool refused;                     /* the service has refused the current ones as expired */
  kin_time ask_after; /* wall; the provider is not asked earlier, except when invalid */
} kin_credentials_store;

void kin_credentials_destroy(kin_credentials_store *store);

/* Takes the provider's message. NULL: the credentials are valid. Otherwise the error that waiting
 * calls fail with, copied to *error. After a failed refresh the current ones stay in use, and the
 * provider is asked again KIN_CREDENTIALS_RETRY later. */
const kin_error *kin_credentials_put(kin_credentials_store *store, kin_credentials_message *message,
                                     kin_time wall, kin_error *error);

/* Whether calls can be signed. *want is set when the provider must be asked now. */
bool kin_credentials_ready(kin_credentials_store *store, kin_time wall, bool *want);

/* The service has refused credentials of that generation as expired: if they are the current ones,
 * they are not used again. False: they never expire, so the provider has no other ones. */
bool kin_credentials_refuse(kin_credentials_store *store, unsigned generation);

#endif
