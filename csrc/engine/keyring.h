/* keyring: the keys that calls are signed with, and when fresh ones are wanted. Engine thread only.
 *
 * Keys that expire are wanted KIN_KEYS_EARLY before, once, but not before a quarter of their life
 * is over: a provider that hands out what it keeps is not to be asked at every call. The old ones
 * serve until they expire; then calls park, until fresh ones come, their own time is up, or the
 * provider says it failed. */
#ifndef KIN_ENGINE_KEYRING_H
#define KIN_ENGINE_KEYRING_H

#include "base/clock.h"
#include "base/error.h"
#include "engine/mailbox.h"
#include "wire/sigv4.h"

#define KIN_KEYS_EARLY (900 * KIN_SECOND)
#define KIN_KEYS_AGAIN (30 * KIN_SECOND)

/* KIN_MESSAGE_KEYS. Either keys, or `failure`. Wiped when freed. */
typedef struct kin_keys_message {
  kin_message message;
  kin_keys keys;
  kin_time expires; /* wall, or KIN_NEVER */
  kin_error error;
  char *memory; /* what `keys` points into */
  size_t memory_len;
} kin_keys_message;

/* Copies; NULL when memory is out. A NULL `keys` makes an empty message for a error. */
kin_keys_message *kin_keys_message_create(const kin_keys *keys, kin_time expires);

typedef struct kin_keyring {
  kin_keys_message *current; /* owned; NULL before the first keys */
  bool wanted;               /* asked for, not yet answered */
  unsigned generation;       /* counts the keys that were current */
  bool refused;              /* the service called the current keys expired */
  kin_time ask_after;        /* wall; not before */
} kin_keyring;

void kin_keyring_destroy(kin_keyring *ring);

/* Takes what the provider said. NULL: the keys serve. Otherwise why parked calls must fail now; a
 * failed refresh does not take away keys that still serve, and is tried again in a while. */
const kin_error *kin_keyring_put(kin_keyring *ring, kin_keys_message *keys, kin_time wall,
                                 kin_error *error);

/* Whether a call may be signed now, or has to park. *want is set when the provider must be asked:
 * never twice for the same keys. */
bool kin_keyring_ready(kin_keyring *ring, kin_time wall, bool *want);

/* The service refused keys of that generation as expired: if they are current, they are not used
 * again. False when there is nobody to ask for others, because they never expire by themselves. */
bool kin_keyring_refuse(kin_keyring *ring, unsigned generation);

#endif
