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
                                                        const char *account_id, kin_time expires) {
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
                        (account_id ? strlen(account_id) + 1 : 0) + 2;
  char *at = message->memory = malloc(message->memory_len);
  if (!at) {
    free(message);
    return NULL;
  }
  message->credentials.access_key_id = put_text(&at, credentials->access_key_id);
  message->credentials.secret_access_key = put_text(&at, credentials->secret_access_key);
  message->credentials.session_token = token ? put_text(&at, token) : NULL;
  message->account_id = account_id ? put_text(&at, account_id) : NULL;
  return message;
}

void kin_credentials_destroy(kin_credentials_store *store) {
  if (store->current)
    kin_message_free(&store->current->message);
  store->current = NULL;
}

static bool is_same(const char *one, const char *other) {
  return one && other ? strcmp(one, other) == 0 : one == other;
}

static bool repeats(const kin_credentials_store *store, const kin_credentials *credentials) {
  const kin_credentials *current = &store->current->credentials;
  return (store->refused || store->doubted) &&
         is_same(current->access_key_id, credentials->access_key_id) &&
         is_same(current->secret_access_key, credentials->secret_access_key) &&
         is_same(current->session_token, credentials->session_token);
}

static void replace(kin_credentials_store *store, kin_credentials_message *message) {
  kin_credentials_destroy(store);
  store->current = message;
}

static void note_repeat(kin_credentials_store *store, kin_time now) {
  store->trial = store->doubted && !store->refused;
  store->doubted = true;
  store->refused = false;
  store->retry_at = now + KIN_CREDENTIALS_RETRY;
  if (store->repeats == 0 || now >= store->repeated_at + KIN_CREDENTIALS_RETRY) {
    store->repeats++;
    store->repeated_at = now;
  }
}

/* Whether the provider has no others than these, which the service does not know. */
static bool is_hopeless(const kin_credentials_store *store, const kin_error *error) {
  return store->repeats >= KIN_CREDENTIALS_REPEATS && kin_error_is_unknown_credentials(error);
}

static void set_problem(kin_credentials_store *store, const kin_error *error) {
  store->problem = *error;
  store->problem.class = is_hopeless(store, error) ? KIN_FATAL : KIN_TRANSIENT;
}

static void install(kin_credentials_store *store, kin_credentials_message *message, kin_time wall) {
  replace(store, message);
  store->generation++;
  store->refused = store->doubted = store->trial = false;
  store->repeats = 0;
  store->retry_at = 0;
  store->ask_after = wall + (message->expires - wall) / 4;
  kin_error_clear(&store->problem);
}

bool kin_credentials_put(kin_credentials_store *store, kin_credentials_message *message,
                         kin_time wall, kin_time now) {
  store->requested = false;
  if (message->error.class == KIN_OK && wall >= message->expires)
    kin_error_set(&message->error, KIN_FATAL, KIN_CODE_NO_CREDENTIALS,
                  "the credentials provider returned credentials that have already expired");
  if (message->error.class != KIN_OK) {
    kin_credentials_state state = kin_credentials_check(store, wall);
    if (state != KIN_CREDENTIALS_DOUBTED)
      set_problem(store, &message->error);
    store->retry_at = now + KIN_CREDENTIALS_RETRY;
    kin_message_free(&message->message);
    return state != KIN_CREDENTIALS_READY;
  }
  if (!store->current || !repeats(store, &message->credentials)) {
    install(store, message, wall);
    return false;
  }
  replace(store, message);
  note_repeat(store, now);
  set_problem(store, &store->refusal);
  return true;
}

kin_credentials_state kin_credentials_check(const kin_credentials_store *store, kin_time wall) {
  if (!store->current || store->refused || wall >= store->current->expires)
    return KIN_CREDENTIALS_MISSING;
  return store->doubted ? KIN_CREDENTIALS_DOUBTED : KIN_CREDENTIALS_READY;
}

bool kin_credentials_ask(kin_credentials_store *store, kin_time wall, kin_time now) {
  bool due = now >= store->retry_at;
  if (kin_credentials_check(store, wall) == KIN_CREDENTIALS_READY)
    due = due && store->current->expires != KIN_NEVER &&
          wall >= store->current->expires - KIN_CREDENTIALS_EARLY && wall >= store->ask_after;
  if (!due || store->requested)
    return false;
  store->requested = true;
  if (store->refused)
    store->refused_at = now;
  return true;
}

void kin_credentials_hurry(kin_credentials_store *store) {
  store->retry_at = 0;
}

bool kin_credentials_refuse(kin_credentials_store *store, unsigned generation,
                            const kin_error *error, bool can_wait, kin_time now) {
  if (generation != store->generation)
    return true;
  if (!store->current || store->current->fixed || (can_wait && is_hopeless(store, error)))
    return false;
  store->refusal = *error;
  set_problem(store, error);
  if (can_wait && store->doubted)
    return true;
  store->refused = true;
  if (!can_wait) {
    kin_credentials_hurry(store);
  } else if (store->refused_at == 0 || now >= store->refused_at + KIN_CREDENTIALS_RETRY) {
    kin_credentials_hurry(store);
  } else {
    store->retry_at = store->refused_at + KIN_CREDENTIALS_RETRY;
  }
  return true;
}

void kin_credentials_accept(kin_credentials_store *store, unsigned generation,
                            kin_time started_at) {
  if (generation != store->generation || store->refused ||
      (store->doubted && started_at < store->repeated_at))
    return;
  store->refused_at = 0;
  store->repeats = 0;
  store->doubted = store->trial = false;
}
