#include "engine/target.h"

#include <stdlib.h>

#include "engine/retry.h"

const kin_service kin_service_kinesis = {
    .name = "kinesis",
    .target_prefix = "Kinesis_20131202.",
    .content_type = "application/x-amz-json-1.1",
    .title = "Kinesis",
    .retry_base = KIN_RETRY_BASE,
};

const kin_service kin_service_dynamodb = {
    .name = "dynamodb",
    .target_prefix = "DynamoDB_20120810.",
    .content_type = "application/x-amz-json-1.0",
    .title = "DynamoDB",
    .retry_base = KIN_RETRY_BASE / 2,
};

typedef struct kin_target_item {
  kin_target target;
  struct kin_target_item *next;
  char texts[]; /* of the endpoint */
} target_item;

typedef struct kin_signer_item {
  kin_sigv4 *signer;
  const kin_service *service;
  struct kin_signer_item *next;
  char region[];
} signer_item;

static kin_sigv4 *get_signer(kin_targets *targets, const kin_service *service, const char *region) {
  size_t size = strlen(region) + 1;
  for (signer_item *item = targets->signers; item; item = item->next)
    if (item->service == service && strcmp(item->region, region) == 0)
      return item->signer;
  signer_item *item = malloc(sizeof *item + size);
  kin_sigv4 *signer = kin_sigv4_create(kin_slice_of(region), kin_slice_of(service->name));
  if (!item || !signer) {
    free(item);
    kin_sigv4_destroy(signer);
    return NULL;
  }
  *item = (signer_item){.signer = signer, .service = service, .next = targets->signers};
  memcpy(item->region, region, size);
  targets->signers = item;
  return signer;
}

static const char *copy_text(char **at, const char *text) {
  size_t size = strlen(text) + 1;
  const char *copy = memcpy(*at, text, size);
  *at += size;
  return copy;
}

static bool matches(const kin_endpoint *one, const kin_endpoint *other) {
  bool accounts = one->account_host && other->account_host
                      ? strcmp(one->account_host, other->account_host) == 0
                      : one->account_host == other->account_host;
  return accounts && one->service == other->service && strcmp(one->url, other->url) == 0 &&
         strcmp(one->region, other->region) == 0;
}

const kin_target *kin_targets_get(kin_targets *targets, const kin_endpoint *endpoint,
                                  kin_time connect_timeout, kin_time request_timeout) {
  for (target_item *item = targets->targets; item; item = item->next)
    if (matches(&item->target.endpoint, endpoint))
      return &item->target;
  kin_sigv4 *signer = get_signer(targets, endpoint->service, endpoint->region);
  const char *account_host = endpoint->account_host;
  size_t size = strlen(endpoint->region) + strlen(endpoint->url) + strlen(endpoint->host) +
                strlen(endpoint->path) + (account_host ? strlen(account_host) : 0) + 5;
  target_item *item = signer ? malloc(sizeof *item + size) : NULL;
  if (!item)
    return NULL;
  char *at = item->texts;
  item->target = (kin_target){
      .endpoint = {.service = endpoint->service,
                   .region = copy_text(&at, endpoint->region),
                   .url = copy_text(&at, endpoint->url),
                   .host = copy_text(&at, endpoint->host),
                   .path = copy_text(&at, endpoint->path),
                   .account_host = account_host ? copy_text(&at, account_host) : NULL,
                   .needs_account = endpoint->needs_account},
      .signer = signer,
      .connect_timeout = connect_timeout,
      .request_timeout = request_timeout,
  };
  item->next = targets->targets;
  targets->targets = item;
  return &item->target;
}

void kin_targets_free(kin_targets *targets) {
  for (target_item *item = targets->targets, *next; item; item = next) {
    next = item->next;
    free(item);
  }
  for (signer_item *item = targets->signers, *next; item; item = next) {
    next = item->next;
    kin_sigv4_destroy(item->signer);
    free(item);
  }
  *targets = (kin_targets){0};
}
