/* credentials: the credentials that sign calls, and when to ask for new ones. Engine thread; a
 * message is created on the Lua thread.
 *
 * Credentials that expire are asked for once, KIN_CREDENTIALS_EARLY before they do, but not before
 * a quarter of their life has passed: a provider may return the same ones again. The old ones are
 * used until they expire.
 *
 *   MISSING --put: other ones ----------> READY     they are new, or replace refused ones
 *   MISSING --put: the refused ones ----> DOUBTED
 *   READY ----expire, refused ----------> MISSING   (refused ones without a provider: stay READY)
 *   DOUBTED --put: other ones, accepted-> READY
 *   DOUBTED --refused to a direct call -> MISSING
 *
 * While MISSING no call is signed. While DOUBTED only calls that cannot wait are, and one that can
 * each time the provider repeats them. In both, the provider is asked every KIN_CREDENTIALS_RETRY
 * for calls that wait, and at once for others.
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
#define KIN_CREDENTIALS_RETRY (30 * KIN_SECOND) /* after a provider's error, or refused ones */

/* The provider has repeated unknown credentials so often: waiting does not help. */
enum { KIN_CREDENTIALS_REPEATS = 3 };

/* KIN_MESSAGE_CREDENTIALS: credentials, or the provider's error. Wiped when freed. */
typedef struct kin_credentials_message {
  kin_message message; /* first */
  kin_credentials credentials;
  const char *account_id; /* NULL: unknown; empty: it is no label of a host */
  kin_time expires;       /* wall, or KIN_NEVER */
  bool fixed;             /* there is no provider that could return others */
  kin_error error;        /* class KIN_OK: none */
  char *memory;           /* `credentials` points into it */
  size_t memory_len;
} kin_credentials_message;

/* Copies; NULL `credentials`: for an error. NULL: out of memory. */
kin_credentials_message *kin_credentials_message_create(const kin_credentials *credentials,
                                                        const char *account_id, kin_time expires);

typedef enum {
  KIN_CREDENTIALS_READY,
  KIN_CREDENTIALS_DOUBTED,
  KIN_CREDENTIALS_MISSING,
} kin_credentials_state;

typedef struct kin_credentials_store {
  kin_credentials_message *current; /* owned; NULL: none yet */
  bool requested;                   /* the provider was asked and has not answered */
  unsigned generation;              /* incremented by each new credentials */
  bool refused;        /* the service has refused the current ones; the provider has not answered */
  bool doubted;        /* the service has refused them, and the provider repeats them */
  bool trial;          /* (DOUBTED) one call that can wait may try them */
  unsigned repeats;    /* how often the provider has repeated them, counted every 30 s */
  kin_error refusal;   /* the service's last one */
  kin_error problem;   /* why they are not READY; class KIN_FATAL: waiting does not help */
  kin_time ask_after;  /* wall; READY ones are not replaced earlier */
  kin_time retry_at;   /* monotonic; otherwise the provider is asked then */
  kin_time refused_at; /* monotonic; when it was last asked for a refusal; 0: none */
  kin_time repeated_at; /* monotonic; when `repeats` was incremented */
} kin_credentials_store;

void kin_credentials_destroy(kin_credentials_store *store);

/* Takes the provider's message. True: the calls that wait get `problem`. After a
 * failed refresh the current ones stay in use until they expire. */
bool kin_credentials_put(kin_credentials_store *store, kin_credentials_message *message,
                         kin_time wall, kin_time now);

kin_credentials_state kin_credentials_check(const kin_credentials_store *store, kin_time wall);

/* Whether the provider has to be asked now for calls that are queued; then it counts as asked. */
bool kin_credentials_ask(kin_credentials_store *store, kin_time wall, kin_time now);

/* The provider is asked at once: a call cannot wait. */
void kin_credentials_hurry(kin_credentials_store *store);

/* The service has refused credentials of that generation to a call. True: the call waits for the
 * provider. False: there are no other ones. */
bool kin_credentials_refuse(kin_credentials_store *store, unsigned generation,
                            const kin_error *error, bool can_wait, kin_time now);

/* The service has accepted them, in an attempt that began at `started_at`. */
void kin_credentials_accept(kin_credentials_store *store, unsigned generation, kin_time started_at);

#endif
