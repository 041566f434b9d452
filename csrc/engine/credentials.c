#include "engine/credentials.h"

#include <stdlib.h>

#include "base/openssl.h"

static void free_keys(kin_message *message) {
  kin_credentials_message *keys = (kin_credentials_message *)message;
  if (keys->memory) {
    OPENSSL_cleanse(keys->memory, keys->memory_len);
    free(keys->memory);
  }
  free(keys);
}

static const char *put_text(char **at, const char *text) {
  size_t len = strlen(text) + 1;
  const char *start = memcpy(*at, text, len);
  *at += len;
  return start;
}

kin_credentials_message *kin_credentials_message_create(const kin_credentials *keys,
                                                        kin_time expires) {
  kin_credentials_message *message = calloc(1, sizeof *message);
  if (!message)
    return NULL;
  message->message = (kin_message){.kind = KIN_MESSAGE_CREDENTIALS, .free = free_keys};
  message->expires = expires;
  if (!keys)
    return message;
  const char *token = keys->session_token;
  message->memory_len = strlen(keys->access_key_id) + strlen(keys->secret_access_key) +
                        (token ? strlen(token) + 1 : 0) + 2;
  char *at = message->memory = malloc(message->memory_len);
  if (!at) {
    free(message);
    return NULL;
  }
  message->keys.access_key_id = put_text(&at, keys->access_key_id);
  message->keys.secret_access_key = put_text(&at, keys->secret_access_key);
  message->keys.session_token = token ? put_text(&at, token) : NULL;
  return message;
}

void kin_credential_store_destroy(kin_credential_store *ring) {
  if (ring->current)
    kin_message_free(&ring->current->message);
  ring->current = NULL;
}

static bool usable(const kin_credential_store *ring, kin_time wall) {
  return ring->current && !ring->refused && wall < ring->current->expires;
}

const kin_error *kin_credential_store_put(kin_credential_store *ring, kin_credentials_message *keys,
                                          kin_time wall, kin_error *error) {
  ring->wanted = false;
  if (keys->error.class == KIN_OK && wall >= keys->expires)
    kin_error_set(&keys->error, KIN_FATAL, "NoCredentials",
                  "the credentials provider returned keys that have already expired");
  if (keys->error.class == KIN_OK) {
    kin_credential_store_destroy(ring);
    ring->current = keys;
    ring->generation++;
    ring->refused = false;
    ring->ask_after = wall + (keys->expires - wall) / 4;
    return NULL;
  }
  *error = keys->error;
  kin_message_free(&keys->message);
  ring->ask_after = wall + KIN_CREDENTIALS_AGAIN;
  return usable(ring, wall) ? NULL : error;
}

bool kin_credential_store_ready(kin_credential_store *ring, kin_time wall, bool *want) {
  bool good = usable(ring, wall);
  bool soon = good && ring->current->expires != KIN_NEVER &&
              wall >= ring->current->expires - KIN_CREDENTIALS_EARLY && wall >= ring->ask_after;
  *want = !ring->wanted && (!good || soon);
  if (*want)
    ring->wanted = true;
  return good;
}

bool kin_credential_store_refuse(kin_credential_store *ring, unsigned generation) {
  if (generation != ring->generation)
    return true;
  if (!ring->current || ring->current->expires == KIN_NEVER)
    return false;
  ring->refused = true;
  return true;
}
