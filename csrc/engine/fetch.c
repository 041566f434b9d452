#include "engine/fetch.h"

#include <stdlib.h>

#include "base/openssl.h"
#include "engine/engine.h"

static void wipe(kin_buf *buf) {
  if (buf->at)
    OPENSSL_cleanse(buf->at, buf->len);
}

static void free_fetch(kin_message *message) {
  kin_fetch *fetch = (kin_fetch *)message;
  wipe(&fetch->request.body);
  wipe(&fetch->request.exchange.answer);
  kin_request_free_buffers(&fetch->request);
  free(fetch);
}

/* ---- the vtable ---- */

static kin_time accept(kin_request *request, kin_engine *engine) {
  (void)engine;
  return ((kin_fetch *)request)->delay;
}

static bool prepare(kin_request *request, kin_engine *engine) {
  kin_exchange *exchange = &request->exchange;
  const char *at = request->head.at, *end = at + request->head.len;
  (void)engine;
  exchange->url = at;
  exchange->method = ((kin_fetch *)request)->method;
  exchange->body = kin_buf_slice(&request->body);
  exchange->header_count = 0;
  for (at += strlen(at) + 1; at < end; at += strlen(at) + 1)
    if (exchange->header_count < KIN_EXCHANGE_HEADERS_MAX)
      exchange->headers[exchange->header_count++] = at;
  return true;
}

/* An error quotes the URL without its path: the path of a container's credentials is secret. */
static kin_next classify(kin_request *request, kin_engine *engine, kin_time *delay) {
  const char *url = request->exchange.url, *path = strchr(url + sizeof "https:/", '/');
  (void)engine, (void)delay;
  kin_request_clear_error(request);
  if (!kin_request_classify_transport(request, path ? (size_t)(path - url) : KIN_URL_QUOTED) &&
      !kin_buf_text(&request->exchange.answer))
    kin_error_set(&request->error, KIN_TRANSIENT, KIN_CODE_OUT_OF_MEMORY, "out of memory");
  return KIN_NEXT_DELIVER;
}

static void deliver(kin_request *request, kin_engine *engine) {
  kin_engine_deliver(engine, request->machine, &request->message);
}

kin_fetch *kin_fetch_create(const char *method, kin_slice head) {
  static const kin_request_vtable vtable = {KIN_SLOT_NONE, accept, prepare, classify, deliver};
  kin_fetch *fetch = calloc(1, sizeof *fetch);
  if (!fetch)
    return NULL;
  kin_request_init(&fetch->request, &vtable, "", free_fetch);
  kin_slice_copy(kin_slice_of(method), fetch->method, sizeof fetch->method);
  kin_buf_add_slice(&fetch->request.head, head);
  if (!fetch->request.head.failed)
    return fetch;
  kin_message_free(&fetch->request.message);
  return NULL;
}
