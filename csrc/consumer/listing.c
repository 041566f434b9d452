#include "consumer/listing.h"

enum { TOKEN_MAX = 1 << 20 };

void kin_listing_init(kin_listing *listing) {
  *listing = (kin_listing){.number = 1};
  kin_buf_init(&listing->token, TOKEN_MAX);
}

void kin_listing_free(kin_listing *listing) {
  kin_buf_free(&listing->token);
}

static void begin(kin_listing *listing) {
  listing->number++;
  listing->under_way = true;
  listing->pages = (kin_list_pages){0};
  kin_buf_clear(&listing->token);
}

kin_call *kin_listing_start(kin_listing *listing, kin_slice stream) {
  if (!listing->under_way)
    begin(listing);
  kin_call *call = kin_call_create("ListShards", 1);
  if (!call)
    return NULL;
  kin_list_all_shards_build(&call->request.body, stream, kin_buf_slice(&listing->token));
  call->request.context = listing;
  if (!call->request.body.failed)
    return call;
  kin_message_free(&call->request.message);
  return NULL;
}

/* A page can be asked for again while its token is valid; else the list begins again. */
static kin_listing_event fail(kin_listing *listing, kin_error *error) {
  bool expired = strcmp(error->code, "ExpiredNextTokenException") == 0;
  if (expired)
    error->class = KIN_TRANSIENT;
  if (expired || strcmp(error->code, KIN_CODE_BAD_ANSWER) == 0)
    listing->under_way = false;
  listing->failures++;
  return KIN_LISTING_FAILED;
}

typedef struct taker {
  bool (*each)(void *context, const kin_listed_shard *shard);
  void *context;
  bool memory; /* it is out */
} taker;

static bool take(void *context, const kin_listed_shard *shard) {
  taker *t = context;
  t->memory = !t->each(t->context, shard);
  return !t->memory;
}

kin_listing_event kin_listing_receive(kin_listing *listing, kin_call *call,
                                      bool (*each)(void *context, const kin_listed_shard *shard),
                                      void *context) {
  kin_error *error = &call->request.error;
  kin_buf *answer = &call->request.exchange.answer;
  taker t = {each, context, false};
  kin_slice token;
  if (error->class != KIN_OK)
    return fail(listing, error);
  listing->fresh = 0;
  bool good = kin_list_all_shards_read(answer->at, answer->len, take, &t, &token);
  if (good && token.len == 0) {
    listing->under_way = false;
    listing->failures = 0;
    return KIN_LISTING_COMPLETE;
  }
  if (good && kin_list_pages_go_on(&listing->pages, token, listing->fresh)) {
    kin_buf_clear(&listing->token);
    kin_buf_add_slice(&listing->token, token);
    t.memory = listing->token.failed;
    if (!t.memory)
      return KIN_LISTING_MORE;
  }
  if (t.memory)
    kin_error_set(error, KIN_FATAL, KIN_CODE_OUT_OF_MEMORY,
                  "out of memory while listing the shards");
  else
    kin_error_set(error, KIN_TRANSIENT, KIN_CODE_BAD_ANSWER,
                  good ? "the list of shards has no end: its pages bring nothing new"
                       : "the answer is not a list of shards");
  return fail(listing, error);
}
