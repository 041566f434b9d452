#include "engine/request.h"

#include "base/openssl.h"

enum { BODY_MAX = 48 << 20, HEAD_MAX = 64 << 10 };

void kin_request_init(kin_request *request, const kin_request_vtable *vtable, const char *operation,
                      void (*free)(kin_message *message)) {
  request->message = (kin_message){.kind = KIN_MESSAGE_REQUEST, .free = free};
  request->vtable = vtable;
  request->deadline = request->start_deadline = KIN_NEVER;
  kin_slice_copy(kin_slice_of(operation), request->operation, sizeof request->operation);
  kin_buf_init(&request->body, BODY_MAX);
  kin_buf_init(&request->head, HEAD_MAX);
  kin_buf_init(&request->exchange.answer, KIN_ANSWER_MAX);
}

void kin_request_free_buffers(kin_request *request) {
  if (request->head.at)
    OPENSSL_cleanse(request->head.at, request->head.len);
  kin_buf_free(&request->head);
  kin_buf_free(&request->body);
  kin_buf_free(&request->exchange.answer);
}

void kin_request_clear_error(kin_request *request) {
  kin_error *error = &request->error;
  kin_error_clear(error);
  error->status = request->exchange.status;
  kin_slice_copy(kin_slice_of(request->operation), error->operation, sizeof error->operation);
  kin_slice_copy(kin_slice_of(request->exchange.request_id), error->request_id,
                 sizeof error->request_id);
}

bool kin_request_classify_transport(kin_request *request, size_t url_len) {
  const kin_exchange *exchange = &request->exchange;
  const char *code = exchange->code ? exchange->code : KIN_CODE_CONNECTION;
  if (exchange->failed != KIN_OK)
    kin_error_set(&request->error, exchange->failed, code, "%s (%.*s)", exchange->trouble,
                  (int)url_len, exchange->url);
  return exchange->failed != KIN_OK;
}
