#include "engine/credentials.h"

#include <stdlib.h>

#include "base/openssl.h"

static void free_message(kin_message *message) {
  kin_credentials_message *self = (kin_credentials_message *)message;
  if (self->memory) {
    OPENSSL_cleanse(self->memory, self->memory_len);
    free(self->memory);
  }
  free(self);
}

static const char *put_text(char **at, const char *text) {
  size_t len = strlen(text) + 1;
  const char *start = memcpy(*at, text, len);
  *at += len;
  return start;
}

kin_credentials_message *kin_credentials_message_create(const kin_credentials *credentials,
                                                        kin_time expires) {
  kin_credentials_message *message = calloc(1, sizeof *message);
  if (!message)
    return NULL;
  message->message = (kin_message){.kind = KIN_MESSAGE_CREDENTIALS, .free = free_message};
  message->expires = expires;
  if (!credentials)
    return message;
  const char *token = credentials->session_token;
  message->memory_len = strlen(credentials->access_key_id) +
                        strlen(credentials->secret_access_key) + (token ? strlen(token) + 1 : 0) +
                        2;
  char *at = message->memory = malloc(message->memory_len);
  if (!at) {
    free(message);
    return NULL;
  }
  message->credentials.access_key_id = put_text(&at, credentials->access_key_id);
  message->credentials.secret_access_key = put_text(&at, credentials->secret_access_key);
  message->credentials.session_token = token ? put_text(&at, token) : NULL;
  return message;
}

void kin_credentials_destroy(kin_credentials_store *store) {
  if (store->current)
    kin_message_free(&store->current->message);
  store->current = NULL;
}

static bool valid(const kin_credentials_store *store, kin_time wall) {
  return store->current && !store->refused && wall < store->current->expires;
}

const kin_error *kin_credentials_put(kin_credentials_store *store, kin_credentials_message *message,
                                     kin_time wall, kin_error *error) {
  store->requested = false;
  if (message->error.class == KIN_OK && wall >= message->expires)
    kin_error_set(&message->error, KIN_FATAL, KIN_CODE_NO_CREDENTIALS,
                  "the credentials provider returned credentials that have already expired");
  if (message->error.class == KIN_OK) {
    kin_credentials_destroy(store);
    store->current = message;
    store->generation++;
    store->refused = false;
    store->ask_after = wall + (message->expires - wall) / 4;
    return NULL;
  }
  *error = message->error;
  kin_message_free(&message->message);
  store->ask_after = wall + KIN_CREDENTIALS_RETRY;
  return valid(store, wall) ? NULL : error;
}

bool kin_credentials_ready(kin_credentials_store *store, kin_time wall, bool *want) {
  bool good = valid(store, wall);
  bool soon = good && store->current->expires != KIN_NEVER &&
              wall >= store->current->expires - KIN_CREDENTIALS_EARLY && wall >= store->ask_after;
  *want = !store->requested && (!good || soon);
  if (*want)
    store->requested = true;
  return good;
}

bool kin_credentials_refuse(kin_credentials_store *store, unsigned generation) {
  if (generation != store->generation)
    return true;
  if (!store->current || store->current->expires == KIN_NEVER)
    return false;
  store->refused = true;
  return true;
}
